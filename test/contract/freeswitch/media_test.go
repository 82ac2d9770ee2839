package freeswitch

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
)

// Proves that a file played is heard, and that its end carries our id, by ear and by event.
func TestPlayback_IsHeardAndItsEndIsTold(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		id := c.begins(t, "playback", toneFile(t, 440, 3*time.Second), false)
		hears(t, c.ear, 440)
		begun := c.next(t, "CHANNEL_EXECUTE", func(e *esl.Event) bool { return e.Name() == "CHANNEL_EXECUTE" && e.Get("Application-UUID") == id })
		if got := begun.Get("Application"); got != "playback" {
			t.Errorf("begun: %s", got)
		}
		if e := c.named(t, "PLAYBACK_STOP"); e.Get("Playback-Status") != "done" {
			t.Errorf("status %q", e.Get("Playback-Status"))
		}
		if e := c.completed(t, id); e.Get("Application-Response") != "FILE PLAYED" {
			t.Errorf("response %q", e.Get("Application-Response"))
		}
		silent(t, c.ear)
	})
}

// Proves that a caller to whom nothing is played still gets packets, so that nobody on the path takes the call for dead.
func TestPlayback_BetweenFilesThereIsSilenceNotNothing(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		before, from := c.ear.Stats().PacketsReceived, time.Now()
		silent(t, c.ear)
		n, took := c.ear.Stats().PacketsReceived-before, time.Since(from)
		if most := uint64(took/(20*time.Millisecond)) + 15; n > most {
			t.Errorf("%d packets in %v, want one each 20 ms", n, took)
		}
		for n < 15 && time.Since(from) < patience {
			spoken(t, 20*time.Millisecond)
			n = c.ear.Stats().PacketsReceived - before
		}
		if took := time.Since(from); n < 15 {
			t.Errorf("%d packets in %v, want one each 20 ms", n, took)
		}
	})
}

// Proves the order of announcements over music: locked ones wait for each other, each interrupts the music, which goes
// on by itself afterwards.
func TestPlayback_LockedFilesQueueOverMusic(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.begins(t, "playback", "local_stream://moh", false)
		hears(t, c.ear, musicHz)
		first := c.begins(t, "playback", toneFile(t, 600, 2*time.Second), true)
		second := c.begins(t, "playback", toneFile(t, 900, 2*time.Second), true)
		hears(t, c.ear, 600)
		hears(t, c.ear, 900)
		hears(t, c.ear, musicHz)
		c.completed(t, first)
		c.completed(t, second)
		c.api(t, "uuid_break "+c.uuid+" all")
		silent(t, c.ear)
	})
}

// Proves that a missing file is told as such and ends nothing else: the music goes on.
func TestPlayback_MissingFileIsTold(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.begins(t, "playback", "local_stream://moh", false)
		hears(t, c.ear, musicHz)
		id := c.begins(t, "playback", filepath.Join(t.TempDir(), "missing.wav"), true)
		if e := c.completed(t, id); e.Get("Application-Response") != "FILE NOT FOUND" {
			t.Errorf("response %q", e.Get("Application-Response"))
		}
		hears(t, c.ear, musicHz)
	})
}

// Proves that no key stops a file by itself (FreeSWITCH's default is *): the flow decides that.
func TestPlayback_NoKeyStopsIt(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.begins(t, "playback", toneFile(t, 440, 20*time.Second), false)
		hears(t, c.ear, 440)
		if err := c.ear.SendDigits("*#0"); err != nil {
			t.Fatal(err)
		}
		for _, want := range "*#0" {
			if got := c.named(t, "DTMF").Get("DTMF-Digit"); got != string(want) {
				t.Errorf("key %q, want %q", got, want)
			}
		}
		hears(t, c.ear, 440)
	})
}

// Proves that several pieces play as one, and that looping and breaking one playback works.
func TestPlayback_PiecesLoopsAndBreak(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		a, b := toneFile(t, 440, 600*time.Millisecond), toneFile(t, 600, 600*time.Millisecond)
		id := c.begins(t, "playback", "file_string://"+a+"!"+b, false)
		hears(t, c.ear, 440)
		hears(t, c.ear, 600)
		c.completed(t, id)
		id = c.begins(t, "playback", toneFile(t, 900, 20*time.Second), false)
		hears(t, c.ear, 900)
		c.api(t, "uuid_break "+c.uuid+" all")
		if e := c.completed(t, id); e.Get("Application-Response") != "FILE PLAYED" {
			t.Errorf("a broken playback ends with %q", e.Get("Application-Response"))
		}
		silent(t, c.ear)
	})
}

// expectKeys waits for keys as events, and for the way they came.
func (a *agent) expectKeys(t *testing.T, digits, source string) {
	t.Helper()
	for _, want := range digits {
		e := a.named(t, "DTMF")
		if e.Get("DTMF-Digit") != string(want) || e.Get("DTMF-Source") != source {
			t.Errorf("key %q by %q, want %q by %s", e.Get("DTMF-Digit"), e.Get("DTMF-Source"), want, source)
		}
	}
}

// Proves that keys come as events whichever way the phone sends them, and what each says of the way it came.
func TestDigits_ThreeWaysOneEvent(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		if err := c.ear.SendDigits("159#"); err != nil {
			t.Fatal(err)
		}
		c.expectKeys(t, "159#", "RTP")
		pressByINFO(t, c, "7", 100)
		pressByINFO(t, c, "*", 101)
		c.expectKeys(t, "7*", "ENDPOINT")
		a, sp := s.speaks(t)
		a.runs(t, "start_dtmf", "")
		sp.press(t, "2580")
		a.expectKeys(t, "2580", "INBAND_AUDIO")
	})
}

// Proves that nobody but the other side of the call is heard, by keys in the audio: of its own address they count, of
// another address they do not.
func TestDigits_OfAStrangerDoNotCount(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a, sp := s.speaks(t)
		a.runs(t, "start_dtmf", "")
		stranger, err := net.Dial("udp", sp.rtp.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		(&speaker{rtp: stranger.(*net.UDPConn)}).press(t, "99")
		sp.press(t, "1")
		a.expectKeys(t, "1", "INBAND_AUDIO")
	})
}

// Proves that FreeSWITCH can collect keys by itself, a prompt being interrupted by the first.
func TestDigits_Collected(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		prompt := toneFile(t, 440, 5*time.Second)
		id := c.begins(t, "play_and_get_digits", "2 4 1 5000 # "+prompt+" silence_stream://100 digits \\d+", false)
		hears(t, c.ear, 440)
		if err := c.ear.SendDigits("42#"); err != nil {
			t.Fatal(err)
		}
		c.completed(t, id)
		if got := c.variable(t, "digits"); got != "42" {
			t.Errorf("collected %q", got)
		}
	})
}

// Proves that a message is recorded until the caller falls silent, by measuring the file: the tone is in it whole, and
// it ends within the silence that was asked for.
func TestRecord_EndsWithSilence(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		path := filepath.Join(s.dir, "records", c.token+".wav")
		c.ear.SendTone(440)
		id := c.begins(t, "record", path+" 20 200 2", false)
		c.named(t, "RECORD_START")
		says(t, c.ear, 1500*time.Millisecond)
		c.ear.SendTone(0)
		stopped := c.named(t, "RECORD_STOP")
		c.completed(t, id)
		if got := stopped.Get("Record-File-Path"); got != path {
			t.Errorf("file %q", got)
		}
		r := readRecording(t, path)
		if len(r.channels) != 1 || r.rate != 8000 {
			t.Errorf("%d channels at %d Hz", len(r.channels), r.rate)
		}
		if got := r.has(0, 440); got < 500*time.Millisecond || got > 5*time.Second {
			t.Errorf("the tone of 1.5 s is there for %v", got)
		}
		if got := r.quiet(0); got < time.Second || got > 6*time.Second {
			t.Errorf("then %v of silence, want about 2 s", got)
		}
	})
}

// spoken lets a caller go on speaking for a while.
func spoken(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// Proves that a key and the longest time end a recording too.
func TestRecord_EndsWithKeyOrLimit(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.ear.SendTone(440)
		c.runs(t, "set", "playback_terminators=#")
		path := filepath.Join(s.dir, "records", c.token)
		id := c.begins(t, "record", path+"-key.wav 20", false)
		c.named(t, "RECORD_START")
		says(t, c.ear, time.Second)
		if err := c.ear.SendDigits("#"); err != nil {
			t.Fatal(err)
		}
		c.completed(t, id)
		if got := c.variable(t, "playback_terminator_used"); got != "#" {
			t.Errorf("ended by %q", got)
		}
		if got := readRecording(t, path+"-key.wav").length(); got < 300*time.Millisecond || got > 6*time.Second {
			t.Errorf("recorded %v until the key", got)
		}
		c.runs(t, "record", path+"-limit.wav 2")
		if got := readRecording(t, path+"-limit.wav").length(); got < 1500*time.Millisecond || got > 4*time.Second {
			t.Errorf("recorded %v, limit 2 s", got)
		}
	})
}

// Proves that what was said before the caller hung up is kept.
func TestRecord_SurvivesTheCallersHangup(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		c.ear.SendTone(440)
		path := filepath.Join(s.dir, "records", c.token+".wav")
		c.begins(t, "record", path+" 20", false)
		c.named(t, "RECORD_START")
		says(t, c.ear, 2*time.Second)
		if err := c.ear.Bye(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.ended(t)
		if got := readRecording(t, path).has(0, 440); got < 600*time.Millisecond {
			t.Errorf("%v of the tone is there", got)
		}
	})
}

// Proves that the platform's music is one running source that is listed by name.
func TestStream_IsListed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		if got := apiOf(t, s.dialESL(t, esl.Options{}), "local_stream show"); !strings.Contains(got, "moh,"+filepath.Join(s.dir, "music")) {
			t.Errorf("local_stream show: %q", got)
		}
	})
}

// Proves that an account's own music can be added while calls are up, the way the node agent does it: a file in the
// folder of streams, reloadxml, local_stream start.
func TestStream_OfAnAccountIsAddedWhileRunning(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		name := "acct_" + c.token
		music := filepath.Join(s.dir, name)
		if err := os.Mkdir(music, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeTone(filepath.Join(music, "music.wav"), 700, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		stream := fmt.Sprintf("<include>\n  <directory name=%q path=%q>\n    <param name=\"rate\" value=\"8000\"/>\n    <param name=\"channels\" value=\"1\"/>\n    <param name=\"interval\" value=\"20\"/>\n    <param name=\"timer-name\" value=\"soft\"/>\n  </directory>\n</include>\n", name, music)
		if err := os.WriteFile(filepath.Join(s.dir, "streams", name+".xml"), []byte(stream), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := c.api(t, "reloadxml"); got != "+OK [Success]" {
			t.Errorf("reloadxml: %q", got)
		}
		c.api(t, "local_stream start "+name)
		c.begins(t, "playback", "local_stream://"+name, false)
		hears(t, c.ear, 700)
	})
}
