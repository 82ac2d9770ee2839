package fsim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

// streams are the shared sources of music: each runs by the clock whether somebody listens or not.
type streams struct {
	fixed map[string]string // name → folder, by the options
	dir   string            // of XML files that name more

	mu     sync.Mutex
	known  map[string]*stream
	stop   map[string]bool // stopped by command
	opened time.Time
}

type stream struct {
	path    string
	samples []int16
}

// builtIn is what moh plays where nobody gave it a folder.
const builtIn = "tone_stream://%(4000,0,330)"

func newStreams(o Options) (*streams, error) {
	m := &streams{fixed: o.Streams, dir: o.StreamDir, known: map[string]*stream{}, stop: map[string]bool{}, opened: time.Now()}
	return m, m.reload("")
}

// directories is what we read of local_stream.conf.xml and of the files it includes.
type directories struct {
	List []struct {
		Name string `xml:"name,attr"`
		Path string `xml:"path,attr"`
	} `xml:"directory"`
}

// folders are all streams by name, with the folder each plays.
func (m *streams) folders() (map[string]string, error) {
	all := map[string]string{"moh": ""}
	maps.Copy(all, m.fixed)
	if m.dir == "" {
		return all, nil
	}
	files, err := filepath.Glob(filepath.Join(m.dir, "*.xml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var d directories
		// The root may be <include> or missing: a fragment with several directories is one as well.
		if err := xml.Unmarshal([]byte("<streams>"+withoutRoot(string(raw))+"</streams>"), &d); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for _, one := range d.List {
			all[one.Name] = one.Path
		}
	}
	return all, nil
}

func withoutRoot(text string) string {
	for _, tag := range []string{"<include>", "</include>"} {
		text = strings.ReplaceAll(text, tag, "")
	}
	return text
}

// reload reads folders again: all of them, or the named one.
func (m *streams) reload(name string) error {
	all, err := m.folders()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if name != "" && m.known[name] == nil && all[name] == "" {
		return errNoSound
	}
	var failed error
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if name != "" && n != name || m.stop[n] {
			continue
		}
		one := &stream{path: all[n]}
		if one.path == "" {
			tones, _ := parseTones(strings.TrimPrefix(builtIn, "tone_stream://"))
			one.samples = tones.samples
		} else if one.samples, err = folderOfSounds(one.path); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		m.known[n] = one
	}
	if name == "" {
		return nil // at start a folder may be empty still: its stream is missing until it is reloaded
	}
	return failed
}

// start begins a stream that came after the start of the server, or that was stopped.
func (m *streams) start(name string) error {
	m.mu.Lock()
	delete(m.stop, name)
	m.mu.Unlock()
	return m.reload(name)
}

func (m *streams) halt(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[name] != nil
	delete(m.known, name)
	m.stop[name] = true
	return known
}

// show lists name and folder, as `local_stream show` does.
func (m *streams) show() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.known)) {
		fmt.Fprintf(&b, "%s,%s\n", name, m.known[name].path)
	}
	return b.String()
}

// listen joins a stream where it is now.
func (m *streams) listen(name string) (sound, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.known[name]
	if one == nil {
		return nil, fmt.Errorf("%w: no stream %q", errNoSound, name)
	}
	return &listener{stream: one, opened: m.opened, lead: streamLead, at: m.now()}, nil
}

func (m *streams) now() int { return samplesSince(m.opened) }

func samplesSince(t time.Time) int { return int(time.Since(t) * tone.Rate / time.Second) }

// listener is one caller's place in a stream. Who was away hears what he missed, as far as the memory goes.
type listener struct {
	stream *stream
	opened time.Time
	lead   int // samples of silence still to come
	at     int // position since the stream was opened
}

func (l *listener) next(b *block) bool {
	clear(b[:])
	if l.lead > 0 {
		l.lead -= frameSamples
		return true
	}
	if live := samplesSince(l.opened); live-l.at > streamMemory {
		l.at, l.lead = live, streamLead
		return true
	}
	for i := range b {
		b[i] = l.stream.samples[(l.at+i)%len(l.stream.samples)]
	}
	l.at += frameSamples
	return true
}
