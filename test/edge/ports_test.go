package edge

import (
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Edges that run at the same time have RTP ports of their own, and leave them to the next one, which waits for them.
func TestRTPRanges_AreOneEdgesAlone(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // other edges may run here
	taken := map[int]*os.File{}
	t.Cleanup(func() {
		for _, f := range taken {
			f.Close()
		}
	})
	for {
		lo, hi, media, held, err := rtpRanges(0)
		if err != nil {
			break
		}
		if taken[lo] != nil || hi != lo+999 || media != hi+1 || (lo-10000)%1500 != 0 || media+500 > 32768 {
			t.Fatalf("%d to %d, then %d, beside %d others", lo, hi, media, len(taken))
		}
		taken[lo] = held
	}
	for lo, held := range taken {
		time.AfterFunc(100*time.Millisecond, func() { held.Close() })
		got, _, _, again, err := rtpRanges(time.Minute)
		if err != nil || got != lo {
			t.Fatalf("%d was left, and %d given: %v", lo, got, err)
		}
		taken[lo] = again
		break
	}
	if len(taken) != 15 {
		t.Errorf("%d ranges", len(taken))
	}
}

// A port that was found free is free, and one of which a listener has just been closed soon is, whatever processes are started meanwhile.
func TestListen_WhileProcessesAreStarted(t *testing.T) {
	over := make(chan struct{})
	var starting sync.WaitGroup
	for range 2 {
		starting.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
	}
	defer starting.Wait()
	defer close(over)
	for range 300 {
		list, err := Addresses(1)
		if err != nil {
			t.Fatal(err)
		}
		for _, listen := range []func() (net.Listener, error){
			func() (net.Listener, error) { return net.Listen("tcp", list[0]) },
			func() (net.Listener, error) { return Listen(list[0]) },
		} {
			l, err := listen()
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
