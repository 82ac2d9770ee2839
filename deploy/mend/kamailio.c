// kamailio-mend.so is loaded into Debian 12's Kamailio 5.6.3 before all else (LD_PRELOAD), so that strangers can neither end it nor read
// what others say over TLS: docs/adr/0027-mends-of-debians-daemons.md has what was found and measured, and why it is done here.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void OPENSSL_thread_stop(void); // OPENSSL_init_crypto(3)

// What OpenSSL keeps for a thread lies in shared memory, and each process that is forked inherits that of the first: two broken handshakes at
// once free the same memory (kamailio/kamailio#3695). So the first process gives it up before each fork.
static void before_fork(void) { OPENSSL_thread_stop(); }

// Kamailio's module tls gives OpenSSL the generator of Kamailio, by which all processes draw the same private keys. OpenSSL keeps its own.
int RAND_set_rand_method(const void *method)
{
	(void)method;
	return 1;
}

// pthread_self is the same in every process: each took an RSA key's blinding, which lies in shared memory, for its own and did not lock it.
pthread_t CRYPTO_THREAD_get_current_id(void) { return (pthread_t)gettid(); }

// flood tells whether what was read is pings above all (two line ends, RFC 5626 section 4.4.1): a message has one empty line. Kamailio answers
// each, and when nobody reads that, it connects to the sender for each: a few hundred kilobytes keep a process from everybody for minutes.
static int flood(const char *data, ssize_t n)
{
	ssize_t pings = 0;
	for (const char *end = data + (n > 0 ? n : 0); (data = memmem(data, end - data, "\r\n\r\n", 4)) != NULL; data += 4)
		pings++;
	return pings > 16 + n / 100;
}

// read is how Kamailio reads TCP. 0 = its other end has closed it.
ssize_t read(int fd, void *data, size_t size)
{
	static ssize_t (*next)(int, void *, size_t);
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "read");
	ssize_t n = next(fd, data, size);
	return flood(data, n) ? 0 : n;
}

// SSL_read is how it reads TLS.
int SSL_read(void *ssl, void *data, int size)
{
	static int (*next)(void *, void *, int);
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "SSL_read");
	int n = next(ssl, data, size);
	return flood(data, n) ? 0 : n;
}

static void refuse(const char *why)
{
	fprintf(stderr, "kamailio-mend.so: %s: this Kamailio is not the one that it was made for (docs/adr/0027-mends-of-debians-daemons.md)\n", why);
	_exit(78); // EX_CONFIG
}

// write_over puts n bytes at a place that is only to be read; the process has its own copy of the page from then on.
static void write_over(void *at, const char *bytes, size_t n, int prot)
{
	uintptr_t size = sysconf(_SC_PAGESIZE), page = (uintptr_t)at & -size, len = (uintptr_t)at + n - page;
	if (mprotect((void *)page, len, PROT_READ | PROT_WRITE) != 0)
		refuse("cannot write");
	memcpy(at, bytes, n);
	if (mprotect((void *)page, len, prot) != 0)
		refuse("cannot protect");
}

// find_text returns the one text of the program that the code of a function names by its distance, NULL when there is none.
static char *find_text(struct dl_phdr_info *program, const uint8_t *code, size_t size, const char *text, size_t n)
{
	char *found = NULL;
	for (size_t i = 0; i + 4 <= size; i++) {
		int32_t distance;
		memcpy(&distance, code + i, 4);
		uintptr_t to = (uintptr_t)(code + i + 4) + distance;
		for (int k = 0; k < program->dlpi_phnum; k++) {
			const ElfW(Phdr) *p = &program->dlpi_phdr[k];
			uintptr_t from = program->dlpi_addr + p->p_vaddr;
			if (p->p_type == PT_LOAD && to >= from && to + n <= from + p->p_filesz && memcmp((char *)to, text, n) == 0)
				found = (char *)to;
		}
	}
	return found;
}

// patch has the core read neither MSRP nor chunks of HTTP, which nobody sends it: 24 bytes of the one end it, the other loops or writes behind its
// buffer (kamailio/kamailio 045bf283c0 and 11549cf120 mend both, in 2026). It is called for the program first.
static int patch(struct dl_phdr_info *program, size_t size, void *data)
{
	(void)size, (void)data;
	void *head = dlsym(RTLD_DEFAULT, "tcp_read_headers"), *more = dlsym(RTLD_DEFAULT, "tcp_http11_continue");
	if (head == NULL && more == NULL)
		return 1; // another program, such as a shell that starts it
	Dl_info info;
	ElfW(Sym) *symbol;
	if (head == NULL || more == NULL || dladdr1(head, &info, (void **)&symbol, RTLD_DL_SYMENT) == 0)
		refuse("tcp_read_headers or tcp_http11_continue is missing");
	char *msrp = find_text(program, head, symbol->st_size, "MSRP ", 6);
	if (msrp == NULL)
		refuse("tcp_read_headers does not look for MSRP");
	write_over(msrp, "\n", 1, PROT_READ);                                // no message begins with it
	write_over(more, "\x31\xc0\xc3", 3, PROT_READ | PROT_EXEC); // return 0: not in chunks
	return 1;
}

__attribute__((constructor)) static void loaded(void)
{
	if (pthread_atfork(before_fork, NULL, NULL) != 0)
		abort();
	dl_iterate_phdr(patch, NULL);
	setenv("SIPIO_KAMAILIO_MEND", "1", 1); // kamailio.cfg is not read without
}
