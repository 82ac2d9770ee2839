package keepalive

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// peer is a caller of the test.
type peer struct {
	trunk, held bool
	heard       time.Time // last packet
	heardErr    error
	found       error
	none        bool // no caller to watch
	answer      func(asked int) (int, error)

	asked, ended int
}

func (p *peer) Tag() string { return "tag" }
func (p *peer) Trunk() bool { return p.trunk }

func (p *peer) Ask(context.Context) (int, error) {
	p.asked++
	return p.answer(p.asked)
}

func (p *peer) End(context.Context) error {
	p.ended++
	return nil
}

func says(code int) func(int) (int, error) { return func(int) (int, error) { return code, nil } }

func silent(int) (int, error) { return 0, ErrNoAnswer }

func everyFourth(n int) (int, error) {
	if n%4 == 0 {
		return 200, nil
	}
	return 0, ErrNoAnswer
}

// watch has a Watcher of five minutes watch a caller for some time, and returns after how long his call was ended; 0 = never.
func watch(t *testing.T, p *peer, long time.Duration) (after time.Duration) {
	t.Helper()
	began := time.Now()
	w := New(Config{After: 5 * time.Minute, Log: slog.New(slog.DiscardHandler),
		Calls: func() []Call { return []Call{{Token: "t", CallID: "c", Since: began}} },
		Caller: func(context.Context, Call) (Caller, error) {
			if p.none {
				return nil, p.found
			}
			return p, p.found
		},
		Heard: func(context.Context, string, string) (time.Time, bool, error) { return p.heard, p.held, p.heardErr },
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Run(ctx)
	for time.Since(began) < long && p.ended == 0 {
		// sleep: the bubble's clock
		time.Sleep(time.Second)
		synctest.Wait()
	}
	if p.ended > 0 {
		after = time.Since(began)
	}
	// sleep: an ended call is listed for a while, and is not ended again
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	if p.ended > 1 || int64(p.ended) != w.Ended() {
		t.Errorf("ended %d times, counted %d", p.ended, w.Ended())
	}
	return after
}

// Only who sends nothing and does not answer, or denies the call, is gone: within the time and a round. Whatever else he answers, and
// whatever cannot be known, counts for him.
func TestWatcher_OnlyWhoIsGoneLosesHisCall(t *testing.T) {
	fault := errors.New("Kamailio does not answer")
	for name, row := range map[string]struct {
		peer     peer
		from, to time.Duration // 0: his call goes on
	}{
		"silent":                         {peer{answer: silent}, 5 * time.Minute, 6*time.Minute + 10*time.Second},
		"a proxy says 408 for him":       {peer{answer: says(408)}, 5 * time.Minute, 6*time.Minute + 10*time.Second},
		"knows no such call":             {peer{answer: says(481)}, time.Minute, 3 * time.Minute},
		"a trunk that knows no call":     {peer{answer: says(481), trunk: true}, time.Minute, 3 * time.Minute},
		"on hold and knows no call":      {peer{answer: says(481), held: true}, time.Minute, 3 * time.Minute},
		"answers":                        {peer: peer{answer: says(200)}},
		"does not take OPTIONS":          {peer: peer{answer: says(405)}},
		"does not know OPTIONS":          {peer: peer{answer: says(501)}},
		"finds it out of order":          {peer: peer{answer: says(500)}},
		"a trunk that is silent":         {peer: peer{answer: silent, trunk: true}},
		"silent on hold":                 {peer: peer{answer: silent, held: true}},
		"nobody can ask":                 {peer: peer{answer: func(int) (int, error) { return 0, fault }}},
		"nobody knows who he is":         {peer: peer{answer: silent, found: fault}},
		"nobody to watch":                {peer: peer{answer: silent, none: true}},
		"the relay does not answer":      {peer: peer{answer: silent, heardErr: fault}},
		"answers one question in four":   {peer: peer{answer: everyFourth}},
		"denies and then answers":        {peer: peer{answer: func(n int) (int, error) { return []int{200, 481}[n%2], nil }}},
		"sends media, does not answer":   {peer: peer{answer: silent, heard: time.Now().Add(100 * 365 * 24 * time.Hour)}},
		"sent media, and then no longer": {peer{answer: silent, heard: time.Date(2000, 1, 1, 0, 10, 0, 0, time.UTC)}, 14 * time.Minute, 17 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble begins on 2000-01-01
				got := watch(t, &row.peer, time.Hour)
				if got < row.from || got > row.to {
					t.Errorf("ended after %v, want %v to %v", got, row.from, row.to)
				}
			})
		})
	}
}

// Media that comes while he is asked saves the call.
func TestWatcher_MediaComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		p.answer = func(n int) (int, error) {
			if n >= 4 {
				p.heard = time.Now()
			}
			return 0, ErrNoAnswer
		}
		if got := watch(t, p, time.Hour); got != 0 {
			t.Errorf("ended after %v", got)
		}
	})
}
