package fsim

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

func FuzzReadCommand(f *testing.F) {
	// Proves that no bytes on the event socket make the reader of commands panic, loop, or take more than its bounds.
	for _, seed := range []string{"auth ClueCon\n\n", "sendmsg\ncall-command: execute\ncontent-length: 3\n\nabc", "\n\n\n", "a\nContent-Length: -1\n\n", "x\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bufio.NewReader(bytes.NewReader(raw))
		for range len(raw) + 1 {
			cmd, err := readCommand(r)
			if err != nil {
				return
			}
			if cmd != nil && (len(cmd.line) > maxCommand || len(cmd.body) > len(raw)) {
				t.Fatalf("command beyond its bounds: %d, %d", len(cmd.line), len(cmd.body))
			}
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Fatal("the reader does not come to an end")
		}
	})
}

func FuzzForeignText(f *testing.F) {
	// Proves that SDP, dial strings, tones, digits of INFO, variables and WAV files of any content are read or refused, never a
	// panic, and that an SDP that was read has an address and a codec.
	for _, seed := range []string{"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
		"{a=b,c='d,e'}[x=^^:y:z]sofia/sipio/sip:1@h:5060;fs_path=sip%3A127.0.0.1|error/user_busy", "%(300,100,800);loops=-1", "Signal=5\r\nDuration=100",
		"${a}${b", "RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00data\x04\x00\x00\x00\x01\x00\x02\x00"} {
		f.Add(seed)
	}
	s := &Server{opt: Options{Profile: "sipio"}}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseSDP(text); err == nil && (!d.addr.IsValid() || len(d.laws) == 0) {
			t.Fatalf("SDP without address or codec: %+v", d)
		}
		for _, group := range parsePlan(text).groups {
			for _, b := range group {
				if to, err := s.parseTarget(b.target); err == nil && to.hop == "" {
					t.Fatalf("target without an address: %+v", to)
				}
			}
		}
		if len(text) < 200 {
			parseTones(text)
		}
		if d, _ := infoDigit("application/dtmf-relay", text); d != 0 && !strings.ContainsRune(digits, rune(d)) {
			t.Fatalf("digit %q", d)
		}
		infoDigit("application/dtmf", text)
		expand(text, func(name string) string { return name })
		words(text, 4)
		decodeWAV([]byte(text))
	})
}
