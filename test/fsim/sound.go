package fsim

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

const (
	frame        = 20 * time.Millisecond
	frameSamples = tone.Rate / 50
	// streamLead is the silence that each start of a local_stream begins with (measured: buffer fill).
	streamLead = tone.Rate / 5
	// streamMemory is how much of a local_stream a listener who hears an announcement does not miss (measured: 7.68 s).
	streamMemory = tone.Rate * 768 / 100
)

// block is 20 ms of audio.
type block [frameSamples]int16

// maxTones bounds what one tone_stream holds: ten minutes.
const maxTones = 600 * tone.Rate

var errNoSound = errors.New("sound not found")

// sound makes samples, one block after the other; false is the end.
type sound interface {
	next(b *block) bool
}

// clip is a sound that is known whole.
type clip struct {
	samples []int16
	at      int
	loops   int // -1 = for ever, 0 and 1 = once
}

func (c *clip) next(b *block) bool {
	clear(b[:])
	for filled := 0; filled < frameSamples; {
		if c.at >= len(c.samples) {
			if len(c.samples) == 0 || c.loops == 0 || c.loops == 1 {
				return filled > 0
			}
			if c.at = 0; c.loops > 1 {
				c.loops--
			}
		}
		n := copy(b[filled:], c.samples[c.at:])
		filled, c.at = filled+n, c.at+n
	}
	return true
}

// chain is file_string: one sound after the other without a gap.
type chain struct{ parts []sound }

func (c *chain) next(b *block) bool {
	for len(c.parts) > 0 {
		if c.parts[0].next(b) {
			return true
		}
		c.parts = c.parts[1:]
	}
	return false
}

// openSound opens what playback can be told: a file, file_string://, silence_stream://, tone_stream://, local_stream://.
func (s *Server) openSound(name string) (sound, error) {
	if strings.HasPrefix(name, "{") {
		_, name = brackets(name, '{', '}')
	}
	kind, rest, schemed := strings.Cut(name, "://")
	if !schemed {
		return s.openFile(name)
	}
	switch kind {
	case "file":
		return s.openFile(rest)
	case "file_string":
		var all chain
		for _, part := range strings.Split(rest, "!") {
			one, err := s.openSound(part)
			if err != nil {
				return nil, err
			}
			all.parts = append(all.parts, one)
		}
		return &chain{append([]sound{&clip{samples: make([]int16, streamLead)}}, all.parts...)}, nil
	case "silence_stream":
		ms, err := strconv.Atoi(strings.Split(rest, ",")[0])
		if err != nil {
			return nil, fmt.Errorf("%w: silence of %q", errNoSound, rest)
		}
		if ms < 0 {
			return &clip{samples: make([]int16, tone.Rate), loops: -1}, nil
		}
		return &clip{samples: make([]int16, min(ms, 3600_000)*tone.Rate/1000)}, nil
	case "tone_stream":
		return parseTones(rest)
	case "local_stream":
		return s.streams.listen(rest)
	}
	return nil, fmt.Errorf("%w: nobody plays %s://", errNoSound, kind)
}

func (s *Server) openFile(name string) (sound, error) {
	name, _, _ = strings.Cut(name, "@@")
	samples, err := readWAV(within(s.opt.Sounds, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errNoSound, err)
	}
	if err != nil {
		return nil, err
	}
	return &clip{samples: samples}, nil
}

// parseTones reads teletone's notation as far as it is needed: %(on,off,hz[,hz…]) with ms, several of them, ;loops=n.
func parseTones(text string) (*clip, error) {
	out := &clip{}
	for _, part := range strings.Split(text, ";") {
		part = strings.TrimSpace(part)
		if n, ok := strings.CutPrefix(part, "loops="); ok {
			loops, err := strconv.Atoi(n)
			if err != nil {
				return nil, fmt.Errorf("%w: loops of %q", errNoSound, text)
			}
			out.loops = loops
			continue
		}
		for {
			_, after, found := strings.Cut(part, "%(")
			if !found {
				break
			}
			inside, rest, _ := strings.Cut(after, ")")
			samples, err := oneTone(strings.Split(inside, ","))
			if err != nil || len(out.samples)+len(samples) > maxTones {
				return nil, fmt.Errorf("%w: tone %q", errNoSound, text)
			}
			out.samples, part = append(out.samples, samples...), rest
		}
	}
	if len(out.samples) == 0 {
		return nil, fmt.Errorf("%w: no tone in %q", errNoSound, text)
	}
	return out, nil
}

func oneTone(fields []string) ([]int16, error) {
	var numbers []float64
	for _, f := range fields {
		n, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || n < 0 || n > 300_000 {
			return nil, errNoSound
		}
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 {
		return nil, errNoSound
	}
	on, off := int(numbers[0])*tone.Rate/1000, int(numbers[1])*tone.Rate/1000
	samples := make([]int16, on+off)
	hz := numbers[2:]
	for i := range on {
		v := 0.0
		for _, f := range hz {
			v += math.Sin(2 * math.Pi * f * float64(i) / tone.Rate)
		}
		samples[i] = int16(tone.Level * math.MaxInt16 * v / float64(max(len(hz), 1)))
	}
	return samples, nil
}

// folderOfSounds joins all WAV files of a folder in the order of their names.
func folderOfSounds(path string) ([]int16, error) {
	names, err := filepath.Glob(filepath.Join(path, "*.wav"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []int16
	for _, name := range names {
		samples, err := readWAV(name)
		if err != nil {
			return nil, err
		}
		all = append(all, samples...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no WAV file in %s", errNoSound, path)
	}
	return all, nil
}
