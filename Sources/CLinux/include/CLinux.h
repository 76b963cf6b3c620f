// Calls that Swift's Glibc module lacks: it is built without _GNU_SOURCE, and variadic functions and
// function-like macros do not import. _GNU_SOURCE must not be defined in this header: its types would
// then differ from those of the Glibc module.
#ifndef CLINUX_H
#define CLINUX_H
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
// glibc's headers before the kernel's, see CBPF/shim.h.
#include <net/if.h>
#include <netinet/in.h>
#include <linux/filter.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/genetlink.h>
#include <linux/if_bridge.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <linux/inet_diag.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/veth.h>

/// `struct mmsghdr`, which glibc shows only with _GNU_SOURCE. Part of the kernel's ABI.
struct clinux_mmsghdr {
	struct msghdr msg_hdr;
	unsigned int msg_len;
};

int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags);
int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags);
int clinux_pipe2(int ends[2], int flags);
int clinux_setns_net(int fd);
int clinux_unshare_net(void);
int clinux_bpf(int command, void *attributes, unsigned int size);
/// A timerfd, whose header has types that the Glibc module has too.
int clinux_timerfd(void);
/// Has it go off once in so many microseconds; 0 is never.
int clinux_timerfd_set(int fd, int64_t microseconds);
int clinux_memlock_unlimited(void);
/// The soft and the hard limit, bytes.
int clinux_memlock(uint64_t *soft, uint64_t *hard);
/// Sets the soft limit, bytes, and leaves the hard one.
int clinux_memlock_soft(uint64_t soft);
/// An ioctl(2) on an interface by its name, with what ifr_data of `struct ifreq` points at (netdevice(7)).
int clinux_interface_ioctl(int fd, unsigned long request, const char *name, void *data);
/// TUNSETIFF on an open /dev/net/tun: makes the device, whose name may hold a %d.
///
/// @param name  16 bytes; becomes the name that the device has got.
int clinux_tap(int fd, char *name, short flags);
/// TUNSETOFFLOAD: what the device's reader takes, a bit each (TUN_F_…).
int clinux_tap_offloads(int fd, unsigned int offloads);
/// TUNATTACHFILTER: which packets the device's reader gets.
int clinux_tap_filter(int fd, const struct sock_filter *filter, unsigned short count);
/// capget(2) of this thread: the effective capabilities, a bit each.
int clinux_capabilities(uint64_t *effective);
/// Every further system call of this thread and its children goes through the filter (seccomp(2)).
int clinux_seccomp(const struct sock_filter *filter, unsigned short count);
int clinux_set_thread_name(const char *name);
/// Has these signals, on whichever thread they arrive, written to a pipe in place of what they would do, and gives the
/// pipe's end to read from. Once a process: a thread's mask would not do, because Swift's runtime starts threads before
/// any code of ours.
int clinux_signal_pipe(const int *signals, int count);
/// The next signal of the pipe; 0 where there is none now.
int clinux_next_signal(int fd);
/// Stops this process as its terminal's stop character does (SIGTSTP). Returns once it goes on.
void clinux_suspend(void);
#endif
