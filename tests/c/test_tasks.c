/* tasks: what comes in goes out, each function once, in order of priority. */
#include "wire/tasks.h"

#include "check.h"
#include "messages.h"

static void read_into(struct task_table *table, struct task_queue *queue, struct msg *msg)
{
    tasks_read(table, msg, queue);
    msg_unref(msg);
}

static void check_payload(const struct msg *msg)
{
    char text[4096] = "";
    struct place at = {0, 0};
    uint64_t functions = 0;
    for (uint32_t i = 0; i < msg->wire.tasks.n_functions; i++)
        functions += wire_function(&msg->wire, i).length;
    at = parts_step(&msg->payload, at, functions);
    for (uint32_t i = 0; i < msg->wire.count; i++) {
        uint32_t n = wire_length(&msg->wire, i);
        char id[32];
        parts_copy(&msg->payload, at, n, (uint8_t *)text);
        text[n] = 0;
        snprintf(id, sizeof id, "%llu", (unsigned long long)wire_id(&msg->wire, i));
        CHECK_TEXT(text, id);
        at = parts_step(&msg->payload, at, n);
    }
}

static void tasks_leave_as_they_came(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0};
    read_into(table, &queue, make_tasks(1, 100, 'f', 0));
    CHECK_EQUAL(queue.n, 100);
    struct msg *first = tasks_write(&queue, 30), *rest = tasks_write(&queue, 70);
    CHECK_EQUAL(first->wire.count, 30);
    CHECK_EQUAL(wire_id(&rest->wire, 0), 31);
    CHECK_EQUAL(first->wire.tasks.n_functions, 1);
    check_payload(first);
    check_payload(rest);
    CHECK_EQUAL(queue.n, 0);
    msg_unref(first);
    msg_unref(rest);
    task_table_free(table);
}

static void a_function_of_two_messages_goes_out_once(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0};
    read_into(table, &queue, make_tasks(1, 2, 'f', 0));
    read_into(table, &queue, make_tasks(3, 2, 'g', 0));
    read_into(table, &queue, make_tasks(5, 2, 'f', 0));
    struct msg *all = tasks_write(&queue, 6);
    CHECK_EQUAL(all->wire.tasks.n_functions, 2);
    CHECK_EQUAL(all->wire.tasks.n_runs, 3);
    check_payload(all);
    msg_unref(all);
    task_table_free(table);
}

static void lower_priority_numbers_go_first_and_equals_in_order(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0};
    const uint64_t expected[] = {30, 31, 10, 11, 40, 41, 20, 21};
    read_into(table, &queue, make_tasks(10, 2, 'f', 0));
    read_into(table, &queue, make_tasks(20, 2, 'f', 5));
    read_into(table, &queue, make_tasks(30, 2, 'f', -5));
    read_into(table, &queue, make_tasks(40, 2, 'f', 0));
    for (int i = 0; i < 8; i++) {
        struct task *task = task_pop(&queue);
        CHECK_EQUAL(task->id, expected[i]);
        task_free(task);
    }
    task_table_free(table);
}

static void a_slot_that_is_used_again_has_another_generation(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0};
    read_into(table, &queue, make_tasks(1, 1, 'f', 0));
    struct task *task = task_pop(&queue);
    uint32_t slot = task->function->slot, generation = task->function->generation;
    task_free(task);
    read_into(table, &queue, make_tasks(2, 1, 'g', 0));
    task = task_pop(&queue);
    CHECK_EQUAL(task->function->slot, slot);
    CHECK(task->function->generation != generation, "%u", generation);
    task_free(task);
    task_table_free(table);
}

static void functions_are_kept_up_to_the_limit(void)
{
    struct task_table *table = task_table_new(6); /* two of three bytes */
    struct task_queue queue = {0};
    for (char letter = 'a'; letter <= 'c'; letter++) {
        read_into(table, &queue, make_tasks(1, 1, letter, 0));
        task_free(task_pop(&queue));
    }
    read_into(table, &queue, make_tasks(1, 1, 'c', 0));
    struct task *task = task_pop(&queue);
    CHECK_EQUAL(task->function->generation, 3); /* the one that was kept */
    task_free(task);
    read_into(table, &queue, make_tasks(1, 1, 'a', 0));
    task = task_pop(&queue);
    CHECK_EQUAL(task->function->generation, 4); /* the oldest had to go */
    task_free(task);
    task_table_free(table);
}

static void a_queue_gives_from_both_ends_and_from_its_middle(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0};
    read_into(table, &queue, make_tasks(1, 5, 'f', 0));
    struct task *task = task_table_find(table, 3);
    CHECK(task, "not found");
    task_remove(&queue, task);
    task_free(task);
    CHECK(!task_table_find(table, 3), "still there");
    task = task_pop_last(&queue);
    CHECK_EQUAL(task->id, 5);
    task_push_front(&queue, task);
    CHECK_EQUAL(queue.first->id, 5);
    CHECK_EQUAL(queue.last->id, 4);
    CHECK_EQUAL(queue.n, 4);
    task_queue_clear(&queue);
    CHECK_EQUAL(queue.n, 0);
    task_table_free(table);
}

/* Ids in a row and ids at regular distances; some that are gone again. */
static void a_room_finds_its_tasks_by_id_in_whatever_queue(void)
{
    struct task_table *table = task_table_new(0);
    struct task_queue queue = {0}, other = {0};
    int wrong = 0;
    read_into(table, &queue, make_tasks(1, 5000, 'f', 0));
    for (uint64_t id = 1 << 20; id < 1 << 21; id += 1 << 12)
        read_into(table, &queue, make_tasks(id, 1, 'g', 0));
    for (uint64_t id = 1; id <= 5000; id += 2) {
        struct task *task = task_table_find(table, id);
        task_remove(&queue, task);
        wrong += task->id != id || task->queue;
        if (id % 4 == 1)
            task_free(task);
        else
            task_push_back(&other, task);
    }
    for (uint64_t id = 1; id <= 5000; id++) {
        struct task *task = task_table_find(table, id);
        struct task_queue *in = id % 2 == 0 ? &queue : id % 4 == 1 ? NULL : &other;
        wrong += (task ? task->queue : NULL) != in || (task && task->id != id);
    }
    for (uint64_t id = 1 << 20; id < 1 << 21; id += 1 << 12)
        wrong += !task_table_find(table, id);
    CHECK_EQUAL(wrong, 0);
    struct msg *out = tasks_write(&other, 1250);
    CHECK(!task_table_find(table, wire_id(&out->wire, 0)), "what has left is still there");
    msg_unref(out);
    task_queue_clear(&queue);
    CHECK(!task_table_find(table, 2), "what was freed is still there");
    task_table_free(table);
}

int main(void)
{
    tasks_leave_as_they_came();
    a_function_of_two_messages_goes_out_once();
    lower_priority_numbers_go_first_and_equals_in_order();
    a_slot_that_is_used_again_has_another_generation();
    functions_are_kept_up_to_the_limit();
    a_queue_gives_from_both_ends_and_from_its_middle();
    a_room_finds_its_tasks_by_id_in_whatever_queue();
    return check_end("tasks");
}
