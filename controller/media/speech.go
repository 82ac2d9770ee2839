package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/media/wav"
)

// MaxText bounds a text that is spoken, in characters.
const MaxText = 1000

// Bounds of speaking.
const (
	maxSpeaking = 2                // texts at once: an engine takes a whole core
	maxWaiting  = 128              // texts that wait for it
	speakTime   = 20 * time.Second // for one text, its wait not counted
	maxSpoken   = 32 << 20         // bytes an engine may answer for one text
)

// Voices by gender.
const (
	Male   = "male"
	Female = "female"
)

// Speech is a text and how it is spoken.
type Speech struct {
	Text     string
	Language string // BCP 47 tag in lower case
	Gender   string // Male or Female
	Voice    string // of the engine; "" = by language and gender
}

// Engine makes speech. Both engines are safe for concurrent use.
type Engine interface {
	// Name has all that changes how a text sounds, the engine's version too: what is kept is kept by it.
	Name() string
	// Languages are the tags that it speaks, in lower case. Others are spoken by their base language.
	Languages() []string
	// Speak returns a WAV file.
	Speak(ctx context.Context, s Speech) ([]byte, error)
}

// speaker asks the engine for few texts at a time, and for each of them once.
type speaker struct {
	engine Engine
	places chan struct{}

	mu      sync.Mutex
	waiting int
	flights map[string]*flight
}

// flight is a text that is being made; those who want it too wait for it.
type flight struct {
	done chan struct{}
	ref  api.MediaRef
	err  error
}

func newSpeaker(e Engine) *speaker {
	return &speaker{engine: e, places: make(chan struct{}, maxSpeaking), flights: make(map[string]*flight)}
}

// once runs work for a key, or waits for the one who does. The work goes on when the first who asked has gone.
func (p *speaker) once(ctx context.Context, key string, work func(context.Context) (api.MediaRef, error)) (api.MediaRef, error) {
	p.mu.Lock()
	f := p.flights[key]
	if f == nil {
		if p.waiting >= maxWaiting {
			p.mu.Unlock()
			return api.MediaRef{}, brain.Errorf(brain.EUnavailable, "%d texts wait to be spoken", maxWaiting)
		}
		p.waiting++
		f = &flight{done: make(chan struct{})}
		p.flights[key] = f
		go p.run(context.WithoutCancel(ctx), key, f, work)
	}
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.ref, f.err
	case <-ctx.Done():
		return api.MediaRef{}, ctx.Err()
	}
}

func (p *speaker) run(ctx context.Context, key string, f *flight, work func(context.Context) (api.MediaRef, error)) {
	p.places <- struct{}{} // comes free: each work has a deadline
	ctx, cancel := context.WithTimeout(ctx, speakTime)
	f.ref, f.err = work(ctx)
	cancel()
	<-p.places
	p.mu.Lock()
	delete(p.flights, key)
	p.waiting--
	p.mu.Unlock()
	close(f.done)
}

// say asks the engine and makes a prompt of its answer: 8 kHz, trimmed, as loud as the others.
func (p *speaker) say(ctx context.Context, s Speech) ([]byte, error) {
	if p.engine == nil {
		return nil, brain.Errorf(brain.EUnavailable, "no speech engine is set up")
	}
	b, err := p.engine.Speak(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("speech engine: %w", err)
	}
	samples, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("speech engine: %w", err)
	}
	if samples = wav.Speech(samples); samples == nil {
		return nil, errors.New("speech engine: it said nothing")
	}
	return wav.Encode(samples), nil
}

// spokenKey is where a text is kept: by all that changes how it sounds.
func spokenKey(engine string, s Speech) string {
	h := sha256.New()
	for _, part := range []string{"1", engine, s.Voice, s.Gender, s.Language, s.Text} { // "1": the work of say
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return spokenPrefix + hex.EncodeToString(h.Sum(nil)) + ".wav"
}

// cleanText refuses what is no text to speak, and takes away what cannot be heard.
func cleanText(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", brain.Errorf(brain.EInvalid, "a text to speak is UTF-8")
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if text == "" {
		return "", brain.Errorf(brain.EInvalid, "a text to speak has at least one word")
	}
	if utf8.RuneCountInString(text) > MaxText {
		return "", brain.Errorf(brain.EInvalid, "a text to speak has at most %d characters", MaxText)
	}
	return text, nil
}

// languages are the tags to try for a call, best first: the one asked for, its base, the account's, its base, English.
func languages(asked, account string) []string {
	var out []string
	add := func(tag string) {
		if tag == "" || !isTag(tag) {
			return
		}
		for _, old := range out {
			if old == tag {
				return
			}
		}
		out = append(out, tag)
	}
	for _, tag := range []string{asked, account, "en"} {
		tag = strings.ToLower(tag)
		base, _, _ := strings.Cut(tag, "-")
		add(tag)
		add(base)
	}
	return out
}

// isTag keeps out of keys and command lines what is no language tag (RFC 5646).
func isTag(tag string) bool {
	if len(tag) > 35 || len(tag) < 2 || tag[0] == '-' || tag[len(tag)-1] == '-' {
		return false
	}
	return strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
