// glibc's headers before <linux/…>: libc-compat.h then leaves out its own in6_addr, ifreq and the like,
// which Swift would refuse as two definitions of one type.
#include <net/if.h>
#include <netinet/in.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
