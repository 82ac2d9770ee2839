package flow

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

const allDigits = "0123456789*#"

// play: audioId or playlistId, loops (1; -1 = until a digit or the caller hangs up), bargeIn (false).
//
// Outcomes: default; with bargeIn digit:x, which without an edge is as default: the rest is skipped. A file that
// cannot be played is passed over. default without an edge ends the flow.
type play struct {
	sound   brain.Sound
	loops   int
	bargeIn bool
}

func readPlay(f *fields) action {
	p := &play{loops: f.number("loops", 1, -1, 100), bargeIn: f.boolean("bargeIn", false)}
	p.sound = brain.Sound{MediaID: f.ref("audioId", brain.KindMediaFile), PlaylistID: f.ref("playlistId", brain.KindMediaPlaylist)}
	if (p.sound.MediaID == "") == (p.sound.PlaylistID == "") {
		f.wrong("audioId", "either audioId or playlistId is required")
	}
	if p.loops == 0 {
		f.wrong("loops", "must be from 1 to 100, or -1 for ever, not 0")
	}
	return p
}

func (p *play) exits() []exit {
	out := []exit{{name: defaultOutcome}}
	if p.bargeIn {
		for _, d := range strings.Split(allDigits, "") {
			out = append(out, exit{name: "digit:" + d, or: defaultOutcome})
		}
	}
	return out
}

func (p *play) begin(w *walk, _ *step) move {
	params := api.CommandParams{Loops: p.loops}
	if p.bargeIn {
		params.BargeIn = allDigits
	}
	return w.command(api.CommandPlay, params, p.sound)
}

func (p *play) result(_ *walk, _ *step, in Input) move {
	digit := in.Data["digit"]
	if in.Outcome == api.OutcomeDigit && p.bargeIn && len(digit) == 1 && strings.Contains(allDigits, digit) {
		return leave("digit:" + digit)
	}
	return leave(defaultOutcome)
}

// say: text (template), language, voice. A secret variable is silent: speech is kept in a cache.
//
// Outcome: default, which without an edge ends the flow. What cannot be spoken is passed over.
type say struct {
	text            template
	language, voice string
}

func readSay(f *fields) action {
	s := &say{text: f.template("text"), language: f.text("language", 35), voice: f.text("voice", maxName)}
	if len(s.text) == 0 {
		f.wrong("text", "is required")
	}
	return s
}

func (s *say) exits() []exit { return []exit{{name: defaultOutcome}} }

func (s *say) begin(w *walk, _ *step) move {
	text := s.text.render(w.public, nil)
	if strings.TrimSpace(text) == "" {
		return leave(defaultOutcome)
	}
	return w.command(api.CommandPlay, api.CommandParams{}, brain.Sound{Text: text, Language: s.language, Voice: s.voice})
}

func (s *say) result(*walk, *step, Input) move { return leave(defaultOutcome) }
