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
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

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
int clinux_memlock_unlimited(void);
int clinux_set_thread_name(const char *name);
#endif
