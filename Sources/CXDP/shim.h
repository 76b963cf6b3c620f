// glibc's headers before the kernel's, see CBPF/shim.h.
#include <net/if.h>
#include <netinet/in.h>
#include <linux/if_xdp.h>
#include <xdp/xsk.h>
