/* Lets a user-mode Linux that knows less of the processor's registers than this machine's kernel run on it.
 *
 * It writes the registers of its processes by PTRACE_SETREGSET, as many bytes as it had registers for when it was
 * built; the kernel takes all of the state that the processor has or nothing (EFAULT), which is more than that where
 * there are matrix registers (AMX).  So what is missing is added here: zeroes, the initial state, since no process of
 * the guest can ask for these registers.
 *
 * Made and preloaded by tools/guest where it is needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* From linux/elf.h, which not every libc repeats. */
#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* Not on the stack, which is that of the guest's kernel, and small; it has one processor, and one thread comes here. */
static char state[65536];
static size_t size;

static long (*next)(enum __ptrace_request, ...);

__attribute__((constructor)) static void find(void)
{
	next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
}

static long set_state(pid_t pid, const struct iovec *given)
{
	void *const kind = (void *)NT_X86_XSTATE;
	struct iovec whole = {state, sizeof state};

	if (!size) {
		if (next(PTRACE_GETREGSET, pid, kind, &whole) < 0)
			return -1;
		size = whole.iov_len;
		memset(state, 0, sizeof state);
	}
	if (given->iov_len >= size)
		return next(PTRACE_SETREGSET, pid, kind, given);
	memcpy(state, given->iov_base, given->iov_len);
	whole.iov_len = size;
	return next(PTRACE_SETREGSET, pid, kind, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	pid_t pid;
	void *address, *data;

	va_start(rest, request);
	pid = va_arg(rest, pid_t);
	address = va_arg(rest, void *);
	data = va_arg(rest, void *);
	va_end(rest);
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
		return set_state(pid, data);
	return next(request, pid, address, data);
}
