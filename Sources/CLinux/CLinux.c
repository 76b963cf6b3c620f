#define _GNU_SOURCE
#include "CLinux.h"
#include <signal.h>
#include <errno.h>
#include <assert.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static_assert(sizeof(struct clinux_mmsghdr) == sizeof(struct mmsghdr), "mmsghdr differs from glibc's");

int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags)
{
	return sendmmsg(fd, (struct mmsghdr *)messages, count, flags);
}

int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags)
{
	return recvmmsg(fd, (struct mmsghdr *)messages, count, flags, NULL);
}

int clinux_pipe2(int ends[2], int flags) { return pipe2(ends, flags); }

int clinux_setns_net(int fd) { return setns(fd, CLONE_NEWNET); }

int clinux_unshare_net(void) { return unshare(CLONE_NEWNET); }

int clinux_bpf(int command, void *attributes, unsigned int size)
{
	return syscall(__NR_bpf, command, attributes, size);
}

int clinux_timerfd(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

int clinux_timerfd_set(int fd, int64_t microseconds)
{
	struct itimerspec setting = {
		.it_value = { .tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000 },
	};

	return timerfd_settime(fd, 0, &setting, NULL);
}

int clinux_memlock_unlimited(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	return setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

int clinux_memlock(uint64_t *soft, uint64_t *hard)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return -1;
	*soft = limit.rlim_cur;
	*hard = limit.rlim_max;
	return 0;
}

int clinux_memlock_soft(uint64_t soft)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return -1;
	limit.rlim_cur = soft;
	return setrlimit(RLIMIT_MEMLOCK, &limit);
}

int clinux_interface_ioctl(int fd, unsigned long request, const char *name, void *data)
{
	struct ifreq interface = {.ifr_data = data};

	strncpy(interface.ifr_name, name, sizeof(interface.ifr_name) - 1);
	return ioctl(fd, request, &interface);
}

int clinux_tap(int fd, char *name, short flags)
{
	struct ifreq interface = {.ifr_flags = flags};

	strncpy(interface.ifr_name, name, sizeof(interface.ifr_name) - 1);
	if (ioctl(fd, TUNSETIFF, &interface))
		return -1;
	strncpy(name, interface.ifr_name, IFNAMSIZ);
	return 0;
}

int clinux_tap_offloads(int fd, unsigned int offloads) { return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads); }

int clinux_tap_filter(int fd, const struct sock_filter *filter, unsigned short count)
{
	struct sock_fprog program = {count, (struct sock_filter *)filter};

	return ioctl(fd, TUNATTACHFILTER, &program);
}

int clinux_capabilities(uint64_t *effective)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(__NR_capget, &header, data))
		return -1;
	*effective = data[0].effective | (uint64_t)data[1].effective << 32;
	return 0;
}

int clinux_seccomp(const struct sock_filter *filter, unsigned short count)
{
	struct sock_fprog program = {count, (struct sock_filter *)filter};

	return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int clinux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

static int signal_pipe[2] = {-1, -1};

static void note_signal(int number)
{
	int saved = errno;
	unsigned char byte = number;

	/* A pipe that is full has enough to be read. */
	(void)!write(signal_pipe[1], &byte, 1);
	errno = saved;
}

static int handle_signal(int number)
{
	struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};

	return sigaction(number, &action, NULL);
}

int clinux_signal_pipe(const int *signals, int count)
{
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK))
		return -1;
	for (int i = 0; i < count; i++)
		if (handle_signal(signals[i]))
			return -1;
	return signal_pipe[0];
}

int clinux_next_signal(int fd)
{
	unsigned char byte;

	return read(fd, &byte, 1) == 1 ? byte : 0;
}

void clinux_suspend(void)
{
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	signal(SIGTSTP, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &set, &old);
	/* To this thread: it stops here, and goes on after SIGCONT. */
	raise(SIGTSTP);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	handle_signal(SIGTSTP);
}

// Swift's library refers to it, and glibc's newest (2.35) would be the only thing that keeps a binary built on Debian 12
// from running on EL9, which has glibc 2.34. Squares of floats are exact in double precision.
float hypotf(float x, float y) { return (float)sqrt((double)x * x + (double)y * y); }
