package ban

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/ban"
	"github.com/sipio/sipio/test/netns"
)

// nft runs a script of nft in the namespace of the test.
func (f *field) nft(script string) {
	f.t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("nft: %v\n%s", err, out)
	}
}

func TestOpen_KeepsWhoIsKnownAndWhoHasGrace(t *testing.T) {
	// Proves that a new process bans neither a known address nor one just lifted: what the last one told the kernel of them stays.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	f.must(f.table.Known(unit("10.9.0.2"), unit("fd09:0:0:1::2")))
	f.must(f.table.Lift(unit("10.9.0.3"), time.Minute))
	f.open()
	for _, addr := range []string{"10.9.0.2", "fd09:0:0:1::2", "10.9.0.3"} {
		f.flooded(addr, addr)
	}
	if bans := f.bans(); len(bans) != 0 {
		t.Errorf("banned: %v", bans)
	}
	f.flooded("nobody", "10.9.0.4")
	if bans := f.bans(); len(bans) != 1 {
		t.Errorf("banned: %v", bans)
	}
}

func TestRemake_BringsARemovedTableBack(t *testing.T) {
	// Proves that a table which nft flush ruleset has removed is told as gone by every call that needs it, and that it bans and catches
	// floods again when it is made anew, also over and over.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	banned := ban.Ban{Addr: unit("10.9.0.2"), Tier: api.TierUA, Left: time.Hour}
	for range 2 {
		f.must(f.table.Ban(banned))
		f.nft("flush ruleset")
		f.arrives("without a table", "10.9.0.2", guarded, 3, 3)
		_, caught := f.table.Caught()
		_, list := f.table.List()
		for what, err := range map[string]error{"Caught": caught, "List": list, "Ban": f.table.Ban(banned), "Protect": f.table.Protect(nil)} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s without a table: %v", what, err)
			}
		}
		f.must(f.table.Remake())
		f.must(f.table.Ban(banned))
		f.arrives("banned again", "10.9.0.2", guarded, 3, 0)
		f.flooded("caught again", "fd09:0:0:1::2")
		if caught, err := f.table.Caught(); err != nil || len(caught) != 1 {
			t.Errorf("caught %v, %v", caught, err)
		}
	}
}

func TestCaught_TakesThousandsAtOnce(t *testing.T) {
	// Proves that all of many caught addresses are told, each once, also when some of them are over while they are read.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	const many = 3000
	var list []string
	for i := range many {
		life := ""
		if i%7 == 0 {
			life = fmt.Sprintf(" timeout %dms", 1+i/7)
		}
		list = append(list, fmt.Sprintf("10.10.%d.%d%s", i>>8, i&255, life))
	}
	f.nft("add element inet sipio_test caught4 { " + strings.Join(list, ", ") + " }")
	told := map[netip.Prefix]int{}
	for range 3 {
		caught, err := f.table.Caught()
		f.must(err)
		for _, addr := range caught {
			told[addr]++
		}
	}
	if len(told) < many-many/7-1 {
		t.Errorf("%d addresses are told, want %d at least", len(told), many-many/7-1)
	}
	for addr, times := range told {
		if times != 1 {
			t.Errorf("%s is told %d times", addr, times)
		}
	}
}

func TestFlood_IsBannedThoughForgedAddressesHadTheMeters(t *testing.T) {
	// Proves that as many forged addresses as there are meters hide a flood for some seconds alone: a meter that nobody feeds ends soon.
	if netns.Reexec(t) {
		return
	}
	f := newField(t)
	var socket int
	f.must(f.beside.Do(func() (err error) {
		socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_RAW)
		return err
	}))
	defer func() { _ = syscall.Close(socket) }()
	for i := range 66_000 {
		f.forge(socket, [4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		if i%200 == 0 {
			f.send("10.9.0.4", guarded, 0, 0) // takes what has come
		}
	}
	for deadline := time.Now().Add(30 * time.Second); len(f.bans()) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("half a minute behind the forged addresses a flood is not caught")
		}
		f.send("10.9.0.2", guarded, 1000, 0)
	}
	if bans := f.bans(); len(bans) != 1 || bans["10.9.0.2/32"].Tier != api.TierNft {
		t.Errorf("banned: %v", bans)
	}
}

// forge sends one packet in another's name.
func (f *field) forge(socket int, from [4]byte) {
	f.t.Helper()
	b := make([]byte, 28)
	b[0], b[8], b[9] = 0x45, 64, syscall.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], 28)
	copy(b[12:], from[:])
	copy(b[16:], []byte{10, 9, 0, 1})
	binary.BigEndian.PutUint16(b[20:], guarded)
	binary.BigEndian.PutUint16(b[22:], guarded)
	binary.BigEndian.PutUint16(b[24:], 8)
	for {
		err := syscall.Sendto(socket, b, 0, &syscall.SockaddrInet4{Addr: [4]byte{10, 9, 0, 1}})
		if !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.EAGAIN) {
			f.must(err)
			return
		}
	}
}
