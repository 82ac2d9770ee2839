package fsim

import (
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/test/phone/tone"
)

// appRecord records what the caller says: path [limit seconds [threshold [silent seconds]]].
func appRecord(c *channel, data string) {
	f := words(data, 4)
	if len(f) == 0 {
		return
	}
	c.set("playback_terminator_used", "")
	r, err := newRecorder(within(c.s.opt.Records, f[0]), false)
	if err != nil {
		c.s.log.Warn("record", "channel", c.id, "error", err)
		c.end("DESTINATION_OUT_OF_ORDER", false)
		return
	}
	r.write = false
	if len(f) > 1 {
		r.limit = number(strings.TrimPrefix(f[1], "+")) * int(time.Second/frame)
	}
	if len(f) > 2 {
		r.threshold, r.patience = number(f[2]), 3*int(time.Second/frame)
	}
	if len(f) > 3 && number(f[3]) > 0 {
		r.patience = number(f[3]) * int(time.Second/frame)
	}
	c.set("silence_hits_exhausted", "false")
	c.fireRecord("RECORD_START", f[0])
	c.s.studio.plant(c.track, r)
	c.wait(wait{done: r.ended, digit: c.stopAt(c.terminators())})
	c.s.studio.pull(c.track, r)
	samples, _, err := r.finish()
	if err != nil {
		c.s.log.Warn("record", "channel", c.id, "error", err)
	}
	if r.hushed {
		c.set("silence_hits_exhausted", "true")
	}
	c.recorded(f[0], samples)
}

func (c *channel) fireRecord(name, path string) {
	c.s.fire(c.event(name).add("Record-File-Path", path))
}

func (c *channel) recorded(path string, samples int) {
	c.mu.Lock()
	c.vars.set("record_samples", strconv.Itoa(samples))
	c.vars.set("record_seconds", strconv.Itoa(samples/tone.Rate))
	c.vars.set("record_ms", strconv.Itoa(samples*1000/tone.Rate))
	c.mu.Unlock()
	c.fireRecord("RECORD_STOP", path)
}

// recordSession starts to record both sides; limit in seconds, 0 = none. False: it cannot, or does already.
func (c *channel) recordSession(path string, limit int) bool {
	path = strings.TrimSpace(path)
	c.mu.Lock()
	known := c.recorders[path] != nil
	c.mu.Unlock()
	if known || path == "" || !c.hasMedia() {
		return false
	}
	r, err := newRecorder(within(c.s.opt.Records, path), truth(c.get("RECORD_STEREO")) || truth(c.get("RECORD_STEREO_SWAP")))
	if err != nil {
		c.s.log.Warn("record", "channel", c.id, "error", err)
		return false
	}
	r.swap = truth(c.get("RECORD_STEREO_SWAP"))
	r.read, r.write = !truth(c.get("RECORD_WRITE_ONLY")), !truth(c.get("RECORD_READ_ONLY"))
	r.limit = limit * int(time.Second/frame)
	r.minimum = max(number(c.get("RECORD_MIN_SEC"))*int(time.Second/frame), 1) // an empty file is thrown away in any case
	c.mu.Lock()
	c.recorders[path] = r
	c.mu.Unlock()
	c.s.studio.plant(c.track, r)
	c.fireRecord("RECORD_START", path)
	if limit > 0 {
		go func() {
			select {
			case <-r.ended:
				c.stopRecording(path)
			case <-c.hangup:
			}
		}()
	}
	return true
}

// stopRecording ends one recording of the session, or with "all" all of them; false: there is none.
func (c *channel) stopRecording(path string) bool {
	path = strings.TrimSpace(path)
	c.mu.Lock()
	var paths []string
	for p := range c.recorders {
		if p == path || path == "all" {
			paths = append(paths, p)
		}
	}
	c.mu.Unlock()
	for _, p := range paths {
		c.stopOne(p)
	}
	return len(paths) > 0
}

func (c *channel) stopOne(path string) {
	c.mu.Lock()
	r := c.recorders[path]
	delete(c.recorders, path)
	c.mu.Unlock()
	if r == nil {
		return
	}
	c.s.studio.pull(c.track, r)
	samples, discarded, err := r.finish()
	if err != nil {
		c.s.log.Warn("record", "channel", c.id, "error", err)
	}
	if discarded {
		c.set("RECORD_DISCARDED", "true")
	}
	c.recorded(path, samples)
}

func (c *channel) stopRecorders() { c.stopRecording("all") }

// recording changes one recording of the session; false: there is none of that path.
func (c *channel) recording(path string, change func(*recorder)) bool {
	c.mu.Lock()
	r := c.recorders[path]
	c.mu.Unlock()
	if r == nil {
		return false
	}
	c.s.studio.mu.Lock()
	defer c.s.studio.mu.Unlock()
	change(r)
	return true
}

// startDTMF listens for digits in the caller's audio.
func (c *channel) startDTMF() {
	ear := &earDTMF{pressed: make(chan byte, 64)}
	c.mu.Lock()
	already := c.inband != nil
	if !already {
		c.inband = ear
	}
	c.mu.Unlock()
	if already {
		return
	}
	c.s.studio.plant(c.track, ear)
	go func() {
		for {
			select {
			case digit := <-ear.pressed:
				c.press(press{digit, 2000, "INBAND_AUDIO"})
			case <-c.hangup:
				return
			}
		}
	}()
}

func (c *channel) stopDTMF() {
	c.mu.Lock()
	ear := c.inband
	c.inband = nil
	c.mu.Unlock()
	if ear != nil {
		c.s.studio.pull(c.track, ear)
	}
}
