/* Only so that BCC's ring buffer macro expands; our own rings state their size in bytes. */
#ifndef IDS_SHIM_PAGE_H
#define IDS_SHIM_PAGE_H

#define PAGE_SIZE 4096

#endif
