/* The same bytes to both codecs: they refuse them with the same error, or read the same and write the same again. Python
 * lives in this process; tests/fuzz/again.py is its half. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "feed.h"
#include "write_again.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static PyObject *again;

/* A call of again(head, came). A new reference: the error's name as text, or the bytes of the head written again. */
static PyObject *ask_python(const uint8_t *head, size_t n, uint64_t came)
{
    PyObject *answer = PyObject_CallFunction(again, "y#K", (const char *)head, (Py_ssize_t)n, (unsigned long long)came);
    if (!answer)
        PyErr_Print();
    MUST(answer);
    return answer;
}

static void compare(const uint8_t *head, size_t n, uint64_t came)
{
    struct wire_message m;
    enum wire_error error = wire_decode(head, n, came, &m);
    PyObject *answer = ask_python(head, n, came);
    if (error) {
        const char *name = PyUnicode_Check(answer) ? PyUnicode_AsUTF8(answer) : "none";
        if (!name || strcmp(name, wire_error_name(error)) != 0)
            fprintf(stderr, "C says %s, Python says %s\n", wire_error_name(error), name ? name : "?");
        MUST(name && strcmp(name, wire_error_name(error)) == 0);
    } else {
        struct buf written = {0};
        char *bytes;
        Py_ssize_t length;
        if (PyUnicode_Check(answer))
            fprintf(stderr, "C reads a message, Python says %s\n", PyUnicode_AsUTF8(answer));
        MUST(PyBytes_Check(answer) && PyBytes_AsStringAndSize(answer, &bytes, &length) == 0);
        write_again(&m, &written);
        MUST(written.n == (size_t)length && memcmp(written.p, bytes, written.n) == 0);
        buf_free(&written);
    }
    Py_DECREF(answer);
}

/* As XSE_PYTHON would: its prefix, its site-packages. libFuzzer keeps its signals. */
static void start_python(void)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    PyStatus status = PyConfig_SetBytesString(&config, &config.executable, XSE_PYTHON);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    MUST(!PyStatus_Exception(status));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    start_python();
    PyRun_SimpleString("import sys; sys.path.insert(0, '" XSE_SOURCE "')");
    PyObject *module = PyImport_ImportModule("tests.fuzz.again");
    if (!module)
        PyErr_Print();
    MUST(module);
    again = PyObject_GetAttrString(module, "again");
    MUST(again);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = {data, data + size};
    uint64_t came = 0;
    if (size >= WIRE_PREAMBLE) {
        feed.p = data + 16;
        came = feed_number(&feed, 8);
    }
    compare(data, size, came); /* as the head says */
    if (size && data[size - 1] & 1)
        compare(data, size, came + 1);
    return 0;
}
