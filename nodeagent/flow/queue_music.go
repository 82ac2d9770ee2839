package flow

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// ringTone is heard in place of music while an agent is rung from the first moment: whoever gets through at once has
// never waited.
const ringTone = "tone_stream://%(1000,4000,425);loops=-1"

// streamAgain is the pause after the platform's music could not be played: it is laid when the agent has it.
const streamAgain = 2 * time.Second

// breakTime is how long FreeSWITCH may take to end a sound.
const breakTime = 300 * time.Millisecond

// music is what a caller in a queue hears. It is one playback after the other, which announcements interrupt without
// ending them.
type music struct {
	files  []string // one after the other …
	passes int      // … so many times, -1 = for ever, and then the platform's music
	at     int
	rings  bool // the ring tone, until nobody is rung any more
	id     string
	sound  string
	began  time.Time
	until  time.Time   // nothing is played before then …
	timer  *time.Timer // … which it tells
}

func (k *call) newMusic(ctx context.Context, p api.CommandParams, rings bool) *music {
	m := &music{passes: max(p.Loops, 1), rings: rings, timer: time.NewTimer(0)}
	<-m.timer.C
	refs := p.Files
	if len(refs) == 0 && p.MusicKey != "" {
		refs = []api.MediaRef{{Key: p.MusicKey}}
	}
	if p.Loops < 0 || len(p.Files) == 0 {
		m.passes = -1
	}
	m.files, _ = k.fetch(ctx, refs)
	return m
}

// next is the sound that comes now.
func (m *music) next() string {
	if m.rings {
		return ringTone
	}
	if m.at >= len(m.files) {
		m.at = 0
		if m.passes > 0 {
			if m.passes--; m.passes == 0 {
				m.files = nil
			}
		}
	}
	if len(m.files) == 0 {
		return platformMusic
	}
	m.at++
	return m.files[m.at-1]
}

// keep has something played all the time.
func (m *music) keep(ctx context.Context, k *call, rings bool) error {
	if m.rings && !rings {
		m.rings = false
		if err := m.end(ctx, k); err != nil {
			return err
		}
	}
	if m.id != "" {
		e, over := k.over(m.id)
		if !over {
			return nil
		}
		m.id = ""
		m.judge(k, e)
	}
	if k.gone || k.stopping || time.Now().Before(m.until) {
		return nil
	}
	m.sound, m.began = m.next(), time.Now()
	var err error
	m.id, err = k.begin(ctx, "playback", m.sound)
	return err
}

// judge looks how a sound ended. What cannot be played is left out, what is over at once is not played again at once.
func (m *music) judge(k *call, e Event) {
	rest := shortPass - time.Since(m.began)
	if strings.Contains(e.Get("Application-Response"), "NOT FOUND") {
		k.log.Warn("FreeSWITCH cannot play the music", "sound", m.sound)
		if i := slices.Index(m.files, m.sound); i >= 0 {
			m.files, m.at = slices.Delete(m.files, i, i+1), min(m.at, i)
			rest = 0
		} else {
			rest = streamAgain
		}
	}
	if rest > 0 {
		m.until = time.Now().Add(rest)
		m.timer.Reset(rest)
	}
}

// lost begins anew: an event that was lost may have told the end.
func (m *music) lost(ctx context.Context, k *call) {
	if err := m.end(ctx, k); err != nil && !k.gone {
		k.log.Warn("the music could not be stopped", "error", err)
	}
}

// end stops what is played, and what is to be said.
func (m *music) end(ctx context.Context, k *call) error {
	if k.gone {
		return nil
	}
	err := k.breakOff(ctx)
	m.settle(ctx, k)
	return err
}

// settle waits a moment until what was broken off has ended: what comes next would be broken off with it. Nothing tells
// the end of what had not begun yet.
func (m *music) settle(ctx context.Context, k *call) {
	limit := time.NewTimer(breakTime)
	defer limit.Stop()
	for m.id != "" {
		if _, over := k.over(m.id); over {
			break
		}
		if _, why := k.next(ctx, limit.C); why != wakeEvent {
			break
		}
	}
	m.stopped(k)
}

// stopped notes that something else has ended the music.
func (m *music) stopped(k *call) {
	if m.id != "" {
		delete(k.ended, m.id)
	}
	m.id = ""
}
