// rtpengine-mend.so is loaded into rtpengine before all else (LD_PRELOAD), so that strangers cannot end it (docs/adr/0027-mends-of-debians-daemons.md).
// rtpengine 10.5 takes the tag of 16 bytes off an SRTCP packet in AES-GCM, which browsers use, without a look at its length
// (aes_gcm_decrypt_rtcp of daemon/crypto.c), and has OpenSSL 3.0 decrypt a negative number of bytes: a packet of 12 to 27 bytes to
// the port of a call, from whomever, ends the process. Here that fails, as a wrong tag does, and the packet is dropped.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

typedef int decrypt_update(void *ctx, unsigned char *out, int *outl, const unsigned char *in, int inl); // EVP_DecryptUpdate(3)

static decrypt_update *next;

int EVP_DecryptUpdate(void *ctx, unsigned char *out, int *outl, const unsigned char *in, int inl)
{
	if (inl < 0) {
		*outl = 0;
		return 0;
	}
	return next(ctx, out, outl, in, inl);
}

__attribute__((constructor)) static void loaded(void)
{
	next = (decrypt_update *)dlsym(RTLD_NEXT, "EVP_DecryptUpdate");
	if (next == NULL)
		abort();
}
