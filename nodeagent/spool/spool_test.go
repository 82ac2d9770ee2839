package spool

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// crashDir, when set, makes this test binary the child of TestSpool_KillLosesNothingAcknowledged.
const crashDir = "SIPIO_TEST_SPOOL_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

var quiet = Options{Log: slog.New(slog.DiscardHandler)}

func openSpool(t *testing.T, dir string, opt Options) *Spool {
	t.Helper()
	opt.Log = quiet.Log
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// events makes n events with sequence numbers from first.
func events(first, n int) []api.Event {
	list := make([]api.Event, n)
	for i := range list {
		list[i] = api.Event{Seq: int64(first + i), TimeMS: 1, Type: api.EventDialogEnd, CallID: fmt.Sprintf("call-%d", first+i)}
	}
	return list
}

func mustAppend(t *testing.T, s *Spool, boot string, list []api.Event) {
	t.Helper()
	last, fresh, err := s.Append("edge1", boot, list)
	if err != nil || last != list[len(list)-1].Seq || len(fresh) != len(list) {
		t.Fatalf("Append: last %d, %d fresh, %v", last, len(fresh), err)
	}
}

// brain takes batches and remembers what came, in order.
type brain struct {
	mu      sync.Mutex
	away    bool
	refuse  int64 // refuses batches that hold this sequence number
	got     []string
	largest int
}

func (b *brain) post(_ context.Context, raw []byte) (api.EventReply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return api.EventReply{}, errors.New("connection refused")
	}
	var batch api.EventBatch
	if err := json.Unmarshal(raw, &batch); err != nil {
		return api.EventReply{}, err
	}
	b.largest = max(b.largest, len(raw))
	var last int64
	for _, ev := range batch.Events {
		if ev.Seq == b.refuse {
			return api.EventReply{}, ErrRefused
		}
		last = ev.Seq
	}
	for _, ev := range batch.Events {
		b.got = append(b.got, batch.Boot+"/"+strconv.FormatInt(ev.Seq, 10))
	}
	return api.EventReply{LastSeq: last}, nil
}

func (b *brain) setAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// drain forwards until the spool is empty.
func drain(t *testing.T, s *Spool, b *brain) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		for s.Stats().Events > 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	s.Forward(ctx, b.post)
	if n := s.Stats().Events; n > 0 {
		t.Fatalf("%d events were not delivered", n)
	}
}

func (b *brain) want(t *testing.T, boot string, first, n int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) != n {
		t.Fatalf("brain got %d events, want %d", len(b.got), n)
	}
	for i, got := range b.got {
		if want := fmt.Sprintf("%s/%d", boot, first+i); got != want {
			t.Fatalf("event %d is %s, want %s: order is lost", i, got, want)
		}
	}
}

// Events arrive in order and once, over many batches, segments and a restart in between; what was
// delivered is not delivered again, and delivered segments are removed from disk.
func TestSpool_DeliversInOrderAcrossSegmentsAndRestarts(t *testing.T) {
	dir, b := t.TempDir(), &brain{}
	s := openSpool(t, dir, Options{SegmentBytes: 4 << 10})
	for i := range 30 {
		mustAppend(t, s, "b1", events(1+i*20, 20))
	}
	drain(t, s, b)
	for i := range 10 {
		mustAppend(t, s, "b1", events(601+i*20, 20))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir, Options{SegmentBytes: 4 << 10})
	if n := s.Stats().Events; n != 200 {
		t.Errorf("%d events wait after the restart, want 200", n)
	}
	drain(t, s, b)
	b.want(t, "b1", 1, 800)
	if files, _ := filepath.Glob(filepath.Join(dir, "*.seg")); len(files) > 2 {
		t.Errorf("%d segments are left of a delivered spool", len(files))
	}
}

// Kamailio posts a batch again when it saw no answer: events already taken are dropped, also after a
// restart of the agent, and a new boot begins at one again.
func TestSpool_DropsRepeatedEventsOfABoot(t *testing.T) {
	dir, b := t.TempDir(), &brain{}
	s := openSpool(t, dir, quiet)
	mustAppend(t, s, "b1", events(1, 10))
	last, fresh, err := s.Append("edge1", "b1", events(6, 10))
	if err != nil || last != 15 || len(fresh) != 5 || fresh[0].Seq != 11 {
		t.Errorf("overlapping batch: last %d, fresh %v, %v", last, fresh, err)
	}
	drain(t, s, b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir, quiet)
	if last, fresh, err := s.Append("edge1", "b1", events(1, 15)); err != nil || last != 15 || len(fresh) != 0 {
		t.Errorf("repeated after a restart: last %d, %d fresh, %v", last, len(fresh), err)
	}
	mustAppend(t, s, "b2", events(1, 3))
	drain(t, s, b)
	if got := strings.Join(b.got[15:], " "); len(b.got) != 18 || got != "b2/1 b2/2 b2/3" {
		t.Errorf("after the first 15 came %q", got)
	}
}

// While the brain is away events wait, and come in order once it is back.
func TestSpool_WaitsOutABrainThatIsAway(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, quiet)
		if err != nil {
			t.Fatal(err)
		}
		b := &brain{away: true}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Forward(ctx, b.post) }()
		for i := range 50 {
			mustAppend(t, s, "b1", events(1+i*10, 10))
			time.Sleep(time.Second)
		}
		if n := s.Stats().Events; n != 500 || len(b.got) != 0 {
			t.Errorf("%d events wait, %d came, want 500 and 0", n, len(b.got))
		}
		b.setAway(false)
		time.Sleep(2 * retryMost)
		b.want(t, "b1", 1, 500)
		cancel()
		<-done
		_ = s.Close()
	})
}

// A batch that the brain refuses as malformed is given up after some tries, counted, and does not
// hold up what stands behind it.
func TestSpool_GivesUpARefusedBatch(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, quiet)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, "b1", events(1, 3))
		mustAppend(t, s, "b1", events(4, 3))
		b := &brain{refuse: 2}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Forward(ctx, b.post)
		b.want(t, "b1", 4, 3)
		if st := s.Stats(); st.Dropped != 3 || st.Events != 0 {
			t.Errorf("stats %+v, want 3 dropped and none waiting", st)
		}
		_ = s.Close()
	})
}

// A full spool drops its oldest events, counts them, and keeps the newest in order.
func TestSpool_DropsTheOldestWhenFull(t *testing.T) {
	s := openSpool(t, t.TempDir(), Options{MaxBytes: 64 << 10, SegmentBytes: 8 << 10})
	const n = 200
	for i := range n {
		mustAppend(t, s, "b1", events(1+i*10, 10))
	}
	st := s.Stats()
	if st.Bytes > 64<<10 || st.Dropped == 0 || st.Events+int(st.Dropped) != 10*n {
		t.Fatalf("stats %+v, want within 64 KiB and every event waiting or dropped", st)
	}
	b := &brain{}
	drain(t, s, b)
	b.want(t, "b1", 10*n-st.Events+1, st.Events)
}

// Batches are cut so that each fits the brain's body limit.
func TestSpool_CutsBatchesToTheBrainsLimit(t *testing.T) {
	s, b := openSpool(t, t.TempDir(), quiet), &brain{}
	list := events(1, 500)
	for i := range list {
		list[i].UserAgent = strings.Repeat("x", 2000)
	}
	mustAppend(t, s, "b1", list)
	drain(t, s, b)
	b.want(t, "b1", 1, 500)
	if b.largest > api.MaxBody {
		t.Errorf("largest batch %d bytes, limit %d", b.largest, api.MaxBody)
	}
}

// A record torn by a crash, at any byte, is cut; all before it stays and new events go on behind it.
func TestOpen_CutsATornEnd(t *testing.T) {
	whole, err := encode("edge1", "b1", events(4, 2))
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)-3] ^= 1
	tails := [][]byte{flipped, {0, 0, 0, 0, 0, 0, 0, 0}, []byte("\xff\xff\xff\xff....")}
	for n := 1; n < len(whole); n += 7 {
		tails = append(tails, whole[:n])
	}
	for _, tail := range tails {
		dir := t.TempDir()
		s := openSpool(t, dir, quiet)
		mustAppend(t, s, "b1", events(1, 3))
		_ = s.Close()
		files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
		f, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write(tail)
		_ = f.Close()
		before, err := os.Stat(files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		s = openSpool(t, dir, quiet)
		after, err := os.Stat(files[len(files)-1])
		if err != nil || before.Size()-after.Size() != int64(len(tail)) {
			t.Errorf("segment went from %d to %d bytes (%v), want the torn %d cut", before.Size(), after.Size(), err, len(tail))
		}
		mustAppend(t, s, "b1", events(4, 2))
		b := &brain{}
		drain(t, s, b)
		b.want(t, "b1", 1, 5)
		_ = s.Close()
	}
}

// A damaged state file means delivering again, never losing.
func TestOpen_DeliversAgainWithoutAState(t *testing.T) {
	for _, content := range []string{"", "{", `{"position":{"segment":99,"offset":5}}`, `{"position":{"segment":1,"offset":99999}}`, `{"position":{"segment":-1}}`} {
		dir := t.TempDir()
		s := openSpool(t, dir, quiet)
		mustAppend(t, s, "b1", events(1, 3))
		_ = s.Close()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s = openSpool(t, dir, quiet)
		if want := 3; !strings.Contains(content, "99999") && s.Stats().Events != want {
			t.Errorf("state %q: %d events wait, want %d", content, s.Stats().Events, want)
		}
		mustAppend(t, s, "b1", events(4, 1))
		drain(t, s, &brain{})
		_ = s.Close()
	}
}

// Two agents must not share a spool.
func TestOpen_RefusesASpoolInUse(t *testing.T) {
	dir := t.TempDir()
	openSpool(t, dir, quiet)
	if _, err := Open(dir, quiet); err == nil {
		t.Error("a spool was opened twice")
	}
}

// appendForEver is the child: it appends batches and prints the last sequence number of each one
// acknowledged, until it is killed. It also delivers, to a brain that is its standard error.
func appendForEver(dir string) {
	s, err := Open(dir, Options{SegmentBytes: 4 << 10, Log: quiet.Log})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	go s.Forward(context.Background(), func(_ context.Context, raw []byte) (api.EventReply, error) {
		var batch api.EventBatch
		if err := json.Unmarshal(raw, &batch); err != nil {
			return api.EventReply{}, err
		}
		last := batch.Events[len(batch.Events)-1].Seq
		_, err := fmt.Fprintln(os.Stderr, batch.Events[0].Seq, last)
		return api.EventReply{LastSeq: last}, err
	})
	for seq := int(s.lastSeq("edge1", "b1")) + 1; ; seq += 3 {
		last, _, err := s.Append("edge1", "b1", events(seq, 3))
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(last)
	}
}

// A process killed with SIGKILL at any moment, again and again, loses no acknowledged event: what
// its brain saw from all lives together, and what is left, covers every acknowledged number in order.
func TestSpool_KillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked, delivered := 0, 0
	for life := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var brainSaw strings.Builder
		cmd.Stderr = &brainSaw
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 40+life*13 {
				_ = cmd.Process.Kill()
			}
			got, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("child says %q", lines.Text())
			}
			acked = got
		}
		_ = cmd.Wait()
		delivered = follow(t, brainSaw.String(), delivered)
	}
	s, b := openSpool(t, dir, quiet), &brain{}
	if s.lastSeq("edge1", "b1") < int64(acked) {
		t.Fatalf("spool knows %d, but %d was acknowledged", s.lastSeq("edge1", "b1"), acked)
	}
	if s.Stats().Events > 0 {
		drain(t, s, b)
	}
	for _, got := range b.got {
		seq, _ := strconv.Atoi(strings.TrimPrefix(got, "b1/"))
		if seq > delivered+1 {
			t.Fatalf("event %d comes after %d: some are lost", seq, delivered)
		}
		delivered = max(delivered, seq)
	}
	if acked < 200 || delivered < acked {
		t.Errorf("acknowledged %d, delivered %d", acked, delivered)
	}
}

// follow reads the deliveries of one life and returns the highest number delivered without a hole.
func follow(t *testing.T, saw string, delivered int) int {
	t.Helper()
	for line := range strings.Lines(saw) {
		var first, last int
		if n, _ := fmt.Sscanf(line, "%d %d\n", &first, &last); n != 2 {
			continue // cut by the kill
		}
		if first > delivered+1 {
			t.Fatalf("batch %d–%d comes after %d: some are lost", first, last, delivered)
		}
		delivered = max(delivered, last)
	}
	return delivered
}
