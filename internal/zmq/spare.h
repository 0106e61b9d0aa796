#ifndef VTX_ZMQ_SPARE_H
#define VTX_ZMQ_SPARE_H

#include <stddef.h>

//  Memory for large message bodies that one thread takes and another gives back, all the time. malloc gives it back to the
//  system and gets it anew: at 64 KiB those page faults cost as much as all copying. So a few pieces of each size, up to
//  4 MiB, are kept: this much in all, in bytes.
#define VTXZ_SPARE_MOST     (16 << 20)

//  At least size bytes, not initialised; NULL: there are none. Any thread may give them back.
void *vtxz_spare_take (size_t size);
void vtxz_spare_give (void *memory);

//  What is kept now, in bytes
size_t vtxz_spare_kept (void);

#endif
