/* idset: what is in is in, through growth and removal, against a plain table of flags. */
#include "base/idset.h"

#include <stdlib.h>

#include "check.h"

int main(void)
{
    static bool in[4096];
    struct idset set = {0};
    size_t n = 0;
    srand(1);
    CHECK(!idset_remove(&set, 5), "an empty set has 5");
    for (int i = 0; i < 200000; i++) {
        uint64_t id = (uint64_t)rand() % 4096;
        if (rand() % 2) {
            n += !in[id];
            idset_add(&set, id << 20); /* ids with equal low bits */
            in[id] = true;
        } else {
            bool was = idset_remove(&set, id << 20);
            if (was != in[id])
                CHECK(was == in[id], "id %llu", (unsigned long long)id);
            n -= in[id];
            in[id] = false;
        }
    }
    CHECK_EQUAL(set.n, n);
    idset_add(&set, UINT64_MAX - 1);
    CHECK(idset_remove(&set, UINT64_MAX - 1), "the largest is not in");
    for (uint64_t id = 0; id < 4096; id++)
        if (idset_remove(&set, id << 20) != in[id])
            CHECK(false, "id %llu", (unsigned long long)id);
    CHECK_EQUAL(set.n, 0);
    idset_clear(&set);
    return check_end("idset");
}
