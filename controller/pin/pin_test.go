package pin

import (
	"strings"
	"sync"
	"testing"
)

// Proves that a PIN is found again in its hash and no other one is, that two hashes of one PIN differ, and
// that neither holds the PIN.
func TestSeal_IsCheckedByItsPINAlone(t *testing.T) {
	one, two := Seal("483920"), Seal("483920")
	if one == two || !Check(one, "483920") || !Check(two, "483920") {
		t.Errorf("hashes %s and %s", one, two)
	}
	for _, wrong := range []string{"", "483921", "48392", "4839200"} {
		if Check(one, wrong) {
			t.Errorf("%q passes for 483920", wrong)
		}
	}
	if strings.Contains(one, "483920") || !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", one)
	}
}

// reference is a hash of "password" in src/test.c of the algorithm's reference implementation
// (github.com/P-H-C/phc-winner-argon2).
const reference = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

// dear is another of its hashes, of "password" too: right, and dearer than Seal's.
const dear = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

// Proves that hashes of other makers are read, with one of the reference implementation's own tests.
func TestCheck_ReadsAHashOfTheReferenceImplementation(t *testing.T) {
	if !Check(reference, "password") || Check(reference, "passwore") {
		t.Error("the reference hash does not match its password alone")
	}
}

// Proves that what is no hash matches nothing, that nothing of it is computed when it would cost too much,
// and that a hash has one spelling. Each row spoils one good hash.
func TestCheck_RefusesWhatIsNoHash(t *testing.T) {
	good := Seal("1234")
	part := strings.Split(good, "$")
	spoil := func(i int, text string) string {
		p := append([]string(nil), part...)
		p[i] = text
		return strings.Join(p, "$")
	}
	for _, hash := range []string{"", "1234", "$", "$$$$$", good + "$", good + "=", " " + good, good[:len(good)-2],
		spoil(1, "argon2i"), spoil(2, "v=16"), dear, spoil(3, "m=4294967295,t=2,p=1"), spoil(3, "m=19457,t=2,p=1"), spoil(3, "m=19456,t=3,p=1"), spoil(3, "m=19456,t=2,p=2"),
		spoil(3, "m=19456,t=4000000,p=1"), spoil(3, "m=19456,t=2,p=0"),
		spoil(3, "m=19456,t=2,p=257"), spoil(3, "t=2,m=19456,p=1"), spoil(3, "m=019456,t=2,p=1"), spoil(3, "m=19456,t=2"), spoil(4, ""), spoil(4, "****"),
		spoil(5, ""), spoil(5, "AAAA"), spoil(5, strings.Repeat("A", 400))} {
		if _, read := parse(hash); read || Check(hash, "1234") || Check(hash, "password") {
			t.Errorf("%q passes", hash)
		}
	}
}

// Proves that many PINs at once are all checked, though only two are at any time: none waits for ever.
func TestCheck_ManyAtOnceAllEnd(t *testing.T) {
	hash := Seal("1234")
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if !Check(hash, "1234") {
				t.Error("the right PIN was refused")
			}
		})
	}
	all.Wait()
}

// FuzzParse holds the reader of hashes to its word: what it takes it writes again to the letter, within its bounds.
func FuzzParse(f *testing.F) {
	f.Add(reference)
	f.Add("$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		h, ok := parse(text)
		if ok && (h.String() != text || h.memory > memoryKiB || h.passes > passes || h.lanes > lanes || len(h.salt) > maxBytes || len(h.hash) > maxBytes) {
			t.Errorf("%q was read as %+v", text, h)
		}
	})
}

// BenchmarkCheck is what one PIN costs.
func BenchmarkCheck(b *testing.B) {
	hash := Seal("1234")
	for b.Loop() {
		Check(hash, "1234")
	}
}
