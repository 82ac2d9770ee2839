// openssl-fork.so is loaded into Kamailio before all else (LD_PRELOAD), so that strangers cannot end it: docs/adr/0027-openssl-and-fork.md.
// Kamailio before 5.8 uses OpenSSL in its first process, whose list of errors then lies in shared memory and is inherited by every
// process that is forked: two broken handshakes at once free the same memory (kamailio/kamailio#3695). So the first process
// gives up what OpenSSL keeps of its thread before each fork, and each process makes its own. Later versions do it themselves.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

extern void OPENSSL_thread_stop(void); // OPENSSL_init_crypto(3)

// Kamailio's module tls gives OpenSSL the generator of Kamailio, by which all processes draw the same private keys. OpenSSL keeps its own.
int RAND_set_rand_method(const void *method)
{
	(void)method;
	return 1;
}

// pthread_self is the same in every process: each took an RSA key's blinding, which lies in shared memory, for its own and did not lock it.
pthread_t CRYPTO_THREAD_get_current_id(void) { return (pthread_t)gettid(); }

static void before_fork(void) { OPENSSL_thread_stop(); }

__attribute__((constructor)) static void loaded(void)
{
	if (pthread_atfork(before_fork, NULL, NULL) != 0)
		abort();
	setenv("SIPIO_OPENSSL_FORK", "1", 1); // kamailio.cfg is not read without
}
