// Package pin keeps PINs of mailboxes and conferences as argon2id hashes (RFC 9106), in the form of PHC
// strings: $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH. It is the only package that knows the algorithm. A PIN
// has few digits, so a hash that leaks gives it away sooner or later: what protects it is the limit on tries,
// and that hashes are never shown.
package pin

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/sipio/sipio/brain"
)

// What a hash costs: the smallest setting that OWASP's password storage cheat sheet names, 19 MiB and a few
// tens of milliseconds, because callers wait for it on the phone.
const (
	memoryKiB = brain.MaxHashKiB
	passes    = brain.MaxHashPasses
	lanes     = brain.MaxHashLanes
	saltBytes = 16
	hashBytes = 32
)

// maxBytes bounds the salt and the hash that Check takes. A hash of smaller parameters than Seal's is read, none of larger ones:
// places are few, and whoever gives a hash must not hold them longer than anybody else does.
const maxBytes = 64

// parallel bounds how many hashes are computed at once, so that a burst of PINs costs time and not memory.
const parallel = 2

var places = make(chan struct{}, parallel)

// Seal returns the hash of a PIN under a new random salt. It waits while two others are being made.
func Seal(pin string) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	h := sealed{memoryKiB, passes, lanes, salt, nil}
	h.hash = h.of(pin, hashBytes)
	return h.String()
}

// Check says whether a PIN is the one that a hash was made of. What is no hash of Seal's form matches nothing.
func Check(hash, pin string) bool {
	h, ok := parse(hash)
	if !ok {
		return false
	}
	return subtle.ConstantTimeCompare(h.hash, h.of(pin, len(h.hash))) == 1
}

// sealed is a hash with all that it was made with.
type sealed struct {
	memory, passes uint32 // memory in KiB
	lanes          uint8
	salt, hash     []byte
}

func (h sealed) of(pin string, length int) []byte {
	places <- struct{}{}
	defer func() { <-places }()
	return argon2.IDKey([]byte(pin), h.salt, h.passes, h.memory, h.lanes, uint32(length))
}

var base = base64.RawStdEncoding.Strict()

func (h sealed) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes, base.EncodeToString(h.salt), base.EncodeToString(h.hash))
}

// parse reads a PHC string; anything out of bounds is no hash.
func parse(text string) (h sealed, ok bool) {
	part := strings.Split(text, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, false
	}
	cost := strings.Split(part[3], ",")
	if len(cost) != 3 {
		return h, false
	}
	memory, ok1 := number(cost[0], "m=", memoryKiB)
	rounds, ok2 := number(cost[1], "t=", passes)
	width, ok3 := number(cost[2], "p=", lanes)
	salt, err1 := base.DecodeString(part[4])
	hash, err2 := base.DecodeString(part[5])
	h = sealed{uint32(memory), uint32(rounds), uint8(width), salt, hash}
	ok = ok1 && ok2 && ok3 && err1 == nil && err2 == nil && within(salt, 8) && within(hash, 16)
	return h, ok && h.String() == text // one spelling only
}

func number(text, prefix string, highest int) (int, bool) {
	digits, found := strings.CutPrefix(text, prefix)
	n, err := strconv.Atoi(digits)
	return n, found && err == nil && n >= 1 && n <= highest
}

func within(b []byte, least int) bool { return len(b) >= least && len(b) <= maxBytes }

// Decoy is the hash of what nobody knows: to check against, at the same cost, for whoever must not learn that there is no hash.
func Decoy() string {
	random := make([]byte, hashBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	return Seal(base.EncodeToString(random))
}
