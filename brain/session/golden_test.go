package session

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

var update = flag.Bool("update", false, "write the dialogues anew")

// Each file is a dialogue: what the node agent reports, one event a line, then a line of dashes, then what the
// session answered: the event, the command with its seq, what is needed and what is to be done beside the call.
// Events: start KIND/ID, OUTCOME, http OUTCOME, refused EXIT (the queue gave no place), agent OUTCOME, again (the last event is reported once more), call (another call of
// the same account), wait SECONDS; each with NAME=VALUE data. Underscores in values stand for blanks.
func TestSession_GoldenDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialogue")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".dialogue"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			events, want, _ := strings.Cut(string(text), "----\n")
			got := perform(t, events)
			if *update {
				if err := os.WriteFile(file, []byte(events+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// perform plays the events and writes down the answers.
func perform(t *testing.T, events string) string {
	s := newStage(t)
	var b strings.Builder
	var last *Request
	for line := range strings.Lines(events) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		data := map[string]string{}
		for _, w := range words[1:] {
			if name, value, ok := strings.Cut(w, "="); ok {
				data[name] = strings.ReplaceAll(value, "_", " ")
				if slices.Contains([]string{"caller_user_id", "account_id", "action", "exit"}, name) || strings.HasPrefix(name, "consulted") {
					data[name] = value
				}
			}
		}
		fmt.Fprintf(&b, "> %s\n", line)
		var r Reply
		switch words[0] {
		case "start":
			r = s.start(words[1], data)
		case "http":
			r = s.answered(words[1], data)
		case "again":
			r = s.ask(last)
		case "call":
			s.call()
			continue
		case "refused": // no place in the queue
			r = s.answered(api.OutcomeExit, map[string]string{"exit": words[1]})
		case "agent":
			r = s.answered(words[1], data)
		case "wait":
			var sec int64
			if _, err := fmt.Sscan(words[1], &sec); err != nil {
				t.Fatal(err)
			}
			s.now += sec * 1000
			continue
		default:
			seq := s.last.Seq
			r = s.outcome(words[0], data)
			last = &Request{Flow: s.question(words[0], data)}
			last.Flow.Seq = seq
		}
		b.WriteString(said(r))
	}
	return b.String()
}

// said writes a reply for people.
func said(r Reply) string {
	var b strings.Builder
	switch {
	case r.Unknown:
		return "  unknown\n"
	case r.Refused != "":
		return "  refused: " + r.Refused + "\n"
	case r.Need != nil && r.Need.HTTP != nil:
		fmt.Fprintf(&b, "  need %s %s %s\n", r.Need.HTTP.Method, r.Need.HTTP.URL, r.Need.HTTP.Body)
	case r.Need != nil && r.Need.Agent != nil:
		a := r.Need.Agent
		fmt.Fprintf(&b, "  need %s of %s%s%s\n", a.Action, a.UserID, given(" ", a.QueueID), given(": ", a.Reason))
	default:
		fmt.Fprintf(&b, "  %d %s%s%s\n", r.Seq, r.Command, sounds(r.Sounds), params(r))
	}
	if j := r.Enqueue; j != nil {
		fmt.Fprintf(&b, "  join %s as %s", j.QueueID, j.EntryID)
		for _, s := range j.Skills {
			fmt.Fprintf(&b, " %s>=%d", s.Name, s.Level)
		}
		fmt.Fprintf(&b, " priority %d caller %q %q%s%s%s%s\n", j.Priority, j.CallerNumber, j.CallerName, given(" label ", j.Label),
			map[bool]string{true: ", not without agents"}[j.ExitNoAgents], map[bool]string{true: ", with its age"}[j.SinceMS != 0],
			map[bool]string{true: fmt.Sprint(", by the callback ", j.CallbackFence)}[j.CallbackFence != 0])
	}
	for _, e := range r.Effects {
		fmt.Fprintf(&b, "  ! %s%s\n", e.Kind, detail(e))
	}
	return b.String()
}

// given is a text behind what leads to it, nothing when there is none.
func given(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

func sounds(list []brain.Sound) string {
	var words []string
	for _, s := range list {
		words = append(words, cmp.Or(s.Prompt, s.MediaID, s.PlaylistID, s.Key, "\""+s.Text+"\""))
	}
	if len(words) == 0 {
		return ""
	}
	return " [" + strings.Join(words, ", ") + "]"
}

func params(r Reply) string {
	text, err := json.Marshal(r.Params)
	if err != nil {
		return err.Error()
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, " %s=%v", name, fields[name])
	}
	return b.String()
}

func detail(e Effect) string {
	var b strings.Builder
	if m := e.Message; m != nil {
		fmt.Fprintf(&b, " %s/%s from %q, %d ms, %d bytes", e.VoicemailID, m.ID, m.Caller, m.DurationMS, m.Bytes)
	} else if e.MessageID != "" {
		fmt.Fprintf(&b, " %s/%s", e.VoicemailID, e.MessageID)
	}
	if rec := e.Recording; rec != nil {
		fmt.Fprintf(&b, " %s, %d ms", rec.Key, rec.DurationMS)
	}
	if e.Label != "" {
		fmt.Fprintf(&b, " %s=%s", e.Label, e.Value)
	}
	if e.Why != "" {
		fmt.Fprintf(&b, ": %s", e.Why)
	}
	if e.EntryID != "" {
		fmt.Fprintf(&b, " %s%s", e.EntryID, given(": ", e.Outcome))
	}
	if c := e.Callback; c != nil {
		fmt.Fprintf(&b, " at %s, %d tries, from %d ms, each %d ms, for %d ms", c.Number, c.Tries, c.DelayMS, c.RetryMS, c.WindowMS)
	}
	if c := e.Missed; c != nil {
		fmt.Fprintf(&b, " %s/%d: %s", c.ReservationID, c.Fence, c.Cause)
	}
	if e.URL != "" {
		fmt.Fprintf(&b, " to %s: %s", e.URL, e.Body)
	}
	return b.String()
}
