package pack

import (
	"testing"
	"unsafe"
)

// Texts keep what they say, and share memory with what they were cut from no longer.
func TestOwn(t *testing.T) {
	all := string([]byte("annaberta"))
	a, empty, b := all[:4], "", all[4:]
	Own(&a, &empty, &b)
	if a != "anna" || empty != "" || b != "berta" {
		t.Errorf("%q %q %q", a, empty, b)
	}
	if unsafe.StringData(a) == unsafe.StringData(all) || unsafe.StringData(b) == unsafe.StringData(all[4:]) {
		t.Error("they are still part of the whole")
	}
}
