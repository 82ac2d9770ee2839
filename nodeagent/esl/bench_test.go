package esl

import (
	"io"
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	// Measures frames and events of a recorded IVR call as the reader of a Conn takes them, a call for each iteration.
	for _, name := range []string{"out-ivr-plain", "out-ivr-json"} {
		b.Run(strings.TrimPrefix(name, "out-ivr-"), func(b *testing.B) {
			text := recording(b, name+".fs-to-app.txt")
			p, err := play(strings.NewReader(text))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				in := newFrames(strings.NewReader(text))
				for {
					f, err := in.next()
					if err == io.EOF {
						break
					}
					switch f.contentType {
					case "text/event-plain":
						_, err = parsePlain(string(f.body))
					case "text/event-json":
						_, err = parseJSON(f.body)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(len(p.events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	// Measures the look-up of a variable near the end of a large event.
	p, err := play(strings.NewReader(recording(b, "out-ivr-plain.fs-to-app.txt")))
	if err != nil {
		b.Fatal(err)
	}
	e := p.events[len(p.events)-1]
	for b.Loop() {
		if e.Variable("rtp_audio_rtcp_octet_count") != "0" {
			b.Fatal("not found")
		}
	}
}
