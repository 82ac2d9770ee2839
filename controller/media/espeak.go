package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
)

// Espeak speaks with espeak-ng, a program of the operating system.
type Espeak struct {
	path      string
	version   string
	languages []string
	voices    map[string]string // by language: the program minds capitals
}

// espeakSpeed is in words a minute: a little below the engine's own, as one speaks on the telephone.
const espeakSpeed = "150"

// espeakVariant is the voice of a gender.
var espeakVariant = map[string]string{Male: "+m3", Female: "+f3"}

// espeakNames are tags whose speech the engine has under another name.
var espeakNames = map[string]string{"en": "en-us", "fr": "fr-fr", "zh": "cmn", "no": "nb", "iw": "he", "nn": "nb"}

// OpenEspeak asks the program for its version and languages. path "" = espeak-ng of the search path.
func OpenEspeak(ctx context.Context, path string) (*Espeak, error) {
	if path == "" {
		path = "espeak-ng"
	}
	e := &Espeak{path: path, voices: make(map[string]string)}
	version, err := e.run(ctx, "", "--version")
	if err != nil {
		return nil, fmt.Errorf("%w: install espeak-ng, or name another speech engine", err)
	}
	e.version, _, _ = strings.Cut(string(version), " Data at:")
	e.version = strings.TrimSpace(e.version)
	voices, err := e.run(ctx, "", "--voices")
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(string(voices), "\n") {
		if fields := strings.Fields(line); i > 0 && len(fields) > 1 {
			e.voices[strings.ToLower(fields[1])] = fields[1]
		}
	}
	for name, voice := range espeakNames {
		if e.voices[voice] != "" {
			e.voices[name] = voice
		}
	}
	e.languages = slices.Sorted(maps.Keys(e.voices))
	return e, nil
}

// Name is the program's own, with its version.
func (e *Espeak) Name() string { return e.version + " speed " + espeakSpeed }

// Languages are those of its voices.
func (e *Espeak) Languages() []string { return e.languages }

// Speak runs the program for one text.
func (e *Espeak) Speak(ctx context.Context, s Speech) ([]byte, error) {
	voice := s.Voice
	if voice == "" {
		voice = e.voices[s.Language] + espeakVariant[s.Gender]
	}
	if !isVoice(voice) {
		return nil, brain.Errorf(brain.EInvalid, "no voice of espeak-ng: %.64q", s.Voice)
	}
	text := strings.ReplaceAll(s.Text, "[[", "[ [") // two of them begin phonemes
	return e.run(ctx, text, "-v", voice, "-s", espeakSpeed, "-b", "1", "--stdin", "--stdout")
}

// isVoice keeps paths and options out of the program's arguments.
func isVoice(v string) bool {
	return v != "" && len(v) <= 64 && v[0] != '-' && v[0] != '+' &&
		strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_-") == ""
}

func (e *Espeak) run(ctx context.Context, text string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, e.path, args...)
	cmd.Stdin = strings.NewReader(text)
	out, errs := &capped{limit: maxSpoken}, &capped{limit: 1 << 10}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if out.full {
			return nil, fmt.Errorf("espeak-ng: more than %d bytes", maxSpoken)
		}
		return nil, fmt.Errorf("espeak-ng: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

var errTooMuch = errors.New("too much")

// capped is a buffer that takes no more than its limit.
type capped struct {
	bytes.Buffer
	limit int
	full  bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > c.limit {
		c.full = true
		return 0, errTooMuch
	}
	return c.Buffer.Write(p)
}
