/* options and share: the command line, and how many workers a rank has. */
#include "options.h"

#include "check.h"
#include "leader/share.h"

static int parse(struct options *options, struct err *err, int argc, const char **args)
{
    char *argv[16] = {(char *)(uintptr_t)"xse-pool"};
    for (int i = 0; i < argc; i++)
        argv[i + 1] = (char *)(uintptr_t)args[i];
    return options_parse(options, argc + 1, argv, err);
}

#define PARSE(...)                                                                                                     \
    parse(&o, &err, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static void options_are_read_with_a_space_or_an_equals_sign(void)
{
    struct options o;
    struct err err;
    CHECK(PARSE("--connect", "f", "--workers-per-rank=3", "--prefetch", "-1", "--debug", "--cores-per-worker", "0.5") ==
              0,
          "%s", err.text);
    CHECK_TEXT(o.connect, "f");
    CHECK_EQUAL(o.workers_per_rank, 3);
    CHECK_EQUAL(o.prefetch, -1);
    CHECK(o.debug, "no debug");
    CHECK(o.cores_per_worker == 0.5, "%g", o.cores_per_worker);
    CHECK_TEXT(o.runner, "fork");
    CHECK_EQUAL(o.grace_ms, 1000);
}

static void the_last_one_wins(void)
{
    struct options o;
    struct err err;
    CHECK(PARSE("--connect", "f", "--block", "1", "--block", "2") == 0, "%s", err.text);
    CHECK_TEXT(o.block, "2");
}

static void errors_say_what_is_wrong(void)
{
    struct options o;
    struct err err;
    CHECK(PARSE("--workers", "3") && strstr(err.text, "\"--workers\" is no option"), "%s", err.text);
    CHECK(PARSE("--block", "3") && strstr(err.text, "--connect FILE is missing"), "%s", err.text);
    CHECK(PARSE("--connect") && strstr(err.text, "--connect needs a value"), "%s", err.text);
    CHECK(PARSE("--connect", "f", "--grace", "soon") && strstr(err.text, "from 0 to 3600000"), "%s", err.text);
    CHECK(PARSE("--connect", "f", "--grace", "-1") && strstr(err.text, "from 0 to"), "%s", err.text);
    CHECK(PARSE("--connect", "f", "--grace", "99999999999999999999") && strstr(err.text, "from 0"), "%s", err.text);
    CHECK(PARSE("--connect", "f", "--cores-per-worker", "nan") && strstr(err.text, "from 0"), "%s", err.text);
    CHECK(PARSE("--connect", "f", "--debug=1") && strstr(err.text, "takes no value"), "%s", err.text);
    CHECK(PARSE("--connect", "f", "--runner", "tractor") && strstr(err.text, "fork, echo or sim"), "%s", err.text);
    CHECK(PARSE("--help") == 0 && o.help, "help needs no connect file");
}

static void a_rank_has_what_its_share_of_the_node_allows(void)
{
    struct options o;
    struct err err;
    struct share alone = {.n_cores = 8, .n_sharing_cores = 1, .n_on_node = 1, .memory_gb = 16};
    struct share second_of_three = {
        .n_cores = 8, .n_sharing_cores = 3, .n_on_node = 3, .index_on_node = 1, .memory_gb = 16};
    PARSE("--connect", "f");
    CHECK_EQUAL(share_workers(&alone, &o), 8);
    CHECK_EQUAL(share_workers(&second_of_three, &o), 2);
    PARSE("--connect", "f", "--cores-per-worker", "2");
    CHECK_EQUAL(share_workers(&alone, &o), 4);
    PARSE("--connect", "f", "--cores-per-worker", "0.1");
    CHECK_EQUAL(share_workers(&alone, &o), 80);
    PARSE("--connect", "f", "--mem-per-worker", "5");
    CHECK_EQUAL(share_workers(&alone, &o), 3);
    PARSE("--connect", "f", "--max-workers-per-node", "5");
    CHECK_EQUAL(share_workers(&alone, &o), 5);
    CHECK_EQUAL(share_workers(&second_of_three, &o), 2);
    PARSE("--connect", "f", "--accelerators", "0,1;2,3");
    CHECK_EQUAL(share_workers(&alone, &o), 2);
    PARSE("--connect", "f", "--workers-per-rank", "64");
    CHECK_EQUAL(share_workers(&alone, &o), 64);
}

static void more_ranks_than_cores_have_a_worker_each(void)
{
    struct options o;
    struct err err;
    struct share crowded = {.n_cores = 2, .n_sharing_cores = 4, .n_on_node = 4, .memory_gb = 16};
    PARSE("--connect", "f");
    CHECK_EQUAL(share_workers(&crowded, &o), 1);
}

static void what_does_not_fit_is_zero_and_explained(void)
{
    struct options o;
    struct err err;
    struct share small = {.n_cores = 2, .n_sharing_cores = 1, .n_on_node = 1, .memory_gb = 4};
    PARSE("--connect", "f", "--cores-per-worker", "4");
    CHECK_EQUAL(share_workers(&small, &o), 0);
    share_explain(&small, &o, &err);
    CHECK(strstr(err.text, "no worker fits") && strstr(err.text, "2 cores"), "%s", err.text);
    PARSE("--connect", "f", "--mem-per-worker", "8");
    CHECK_EQUAL(share_workers(&small, &o), 0);
}

static void what_the_provider_says_is_taken(void)
{
    struct options o;
    struct err err;
    struct share share = {.n_cores = 2, .n_sharing_cores = 1, .n_on_node = 1, .memory_gb = 4};
    PARSE("--connect", "f", "--mem-per-worker", "1");
    share_take_provider(&share, "32", "16");
    CHECK_EQUAL(share_workers(&share, &o), 16);
    share_take_provider(&share, "many", "-3");
    CHECK_EQUAL(share_workers(&share, &o), 16);
    share_take_provider(&share, NULL, NULL);
    CHECK_EQUAL(share_workers(&share, &o), 16);
}

int main(void)
{
    options_are_read_with_a_space_or_an_equals_sign();
    the_last_one_wins();
    errors_say_what_is_wrong();
    a_rank_has_what_its_share_of_the_node_allows();
    more_ranks_than_cores_have_a_worker_each();
    what_does_not_fit_is_zero_and_explained();
    what_the_provider_says_is_taken();
    return check_end("options");
}
