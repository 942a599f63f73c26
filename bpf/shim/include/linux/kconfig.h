/* BCC force-includes this first; KBUILD_MODNAME comes from its command line. */
#ifndef IDS_SHIM_KCONFIG_H
#define IDS_SHIM_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

/* BCC's helpers.h uses these before any header that would define them. */
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;

#endif
