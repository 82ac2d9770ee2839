package acd_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/acd"
)

var update = flag.Bool("update", false, "write what happens into the files of testdata/scenarios")

// Proves that what a call-centre manager reads in testdata/scenarios is what the desk does: each file is played, and must
// hold everything that happens, at its time and in its order, and nothing else.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			played, err := play(string(text))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(played), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := firstDifference(string(text), played); diff != "" {
				t.Errorf("%s: %s\nwhat happens (-update writes it):\n%s", file, diff, played)
			}
		})
	}
}

// Proves that the runner itself sees what is missing, what is too much, and what it does not understand.
func TestScenarios_TheRunnerSeesEachDifference(t *testing.T) {
	story := "queue sales ring 10\nagent anna queues sales/1\n\nat 0:00 anna starts work\nat 0:05 caller +491 joins sales\nat 1:00 end\n"
	played, err := play(story)
	if err != nil || firstDifference(story, played) == "" {
		t.Fatal("what happens is not missed", err)
	}
	if again, err := play(played); err != nil || firstDifference(played, again) != "" {
		t.Fatalf("%v: a story that was written is not its own:\n%s", err, again)
	}
	if more := played + "expect 1:00 anna rings for +491\n"; firstDifference(more, mustPlay(t, more)) == "" {
		t.Fatal("what does not happen is not missed")
	}
	for _, bad := range []string{"at 0:01 anna dances", "at x anna starts work", "queue sales colour red", "agent anna queues sales/high", "at 0:00 end"} {
		if _, err := play(story + bad + "\n"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func mustPlay(t *testing.T, text string) string {
	t.Helper()
	out, err := play(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d: the file says %q, what happens is %q", i+1, at(a, i), at(b, i))
		}
	}
	return ""
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// stage plays one story.
type stage struct {
	desk    *acd.Desk
	setup   acd.Setup
	now     int64                 // milliseconds since midnight of the story
	out     []string              // the file as it should be
	held    []string              // comments, until what happens before the line below them is written
	entries map[string]*acd.Join  // by caller number: the latest
	offers  map[string]acd.Offer  // by agent: the latest
	taken   map[string]acd.Offer  // by agent: the latest that was answered and is not known to have come to a talk
	was     map[string]acd.Change // by agent
	exits   map[string]string     // by caller number: by which exit it was told to leave
	calls   map[string]acd.Order  // by caller number: the latest call that was made to somebody
	begun   bool
}

// dawn is the epoch time of 0:00 in a story; a quarter of an hour begins then.
const dawn = 1_800_000_000_000

// play gives a story with everything that happens in it written between the lines that make it happen.
func play(text string) (string, error) {
	s := &stage{desk: acd.New(), entries: map[string]*acd.Join{}, offers: map[string]acd.Offer{}, taken: map[string]acd.Offer{}, was: map[string]acd.Change{}, exits: map[string]string{}, calls: map[string]acd.Order{}}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if err := s.line(line); err != nil {
			return "", fmt.Errorf("line %d, %q: %w", i+1, line, err)
		}
	}
	return strings.Join(append(s.out, s.held...), "\n") + "\n", nil
}

func (s *stage) line(line string) error {
	words := strings.Fields(line)
	switch {
	case strings.HasPrefix(line, "expect "):
		return nil // written anew
	case len(words) == 0 || words[0] == "#":
		s.held = append(s.held, line)
		return nil
	case words[0] == "queue" && len(words) > 1 && !s.begun:
		s.copy(line)
		return s.queue(words[1:])
	case words[0] == "agent" && len(words) > 1 && !s.begun:
		s.copy(line)
		return s.agent(words[1:])
	case words[0] == "at" && len(words) > 2:
		ms, err := clock(words[1])
		if err != nil || ms < s.now {
			return fmt.Errorf("not a time, or back in time: %w", err)
		}
		if err := s.begin(); err != nil {
			return err
		}
		s.wait(ms)
		s.copy(line)
		return s.act(words[2], strings.Join(words[3:], " "), words)
	}
	return fmt.Errorf("not understood")
}

// copy writes a line of the story, with the comments above it.
func (s *stage) copy(line string) {
	s.out = append(append(s.out, s.held...), line)
	s.held = nil
}

func clock(word string) (int64, error) {
	m, sec, _ := strings.Cut(word, ":")
	minutes, err := strconv.ParseInt(m, 10, 64)
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(sec, 64)
	return minutes*60_000 + int64(seconds*1000), err
}

func (s *stage) begin() error {
	if s.begun {
		return nil
	}
	s.begun, s.setup.Version = true, 1
	_, _, err := s.desk.Apply(dawn, acd.AppendSetup(nil, &s.setup))
	return err
}

// wait lets time pass: the desk is woken when it wants to be.
func (s *stage) wait(until int64) {
	for {
		due, ok := s.desk.Deadline()
		if !ok || due > dawn+until {
			break
		}
		s.now = max(s.now, due-dawn)
		s.desk.Expire(dawn+s.now, s.desk.Lapsed(dawn+s.now, 100))
		s.tell()
	}
	s.now = until
}

func (s *stage) say(format string, args ...any) {
	s.out = append(s.out, fmt.Sprintf("expect %d:%s %s", s.now/60_000, seconds(s.now%60_000, 2), fmt.Sprintf(format, args...)))
}

// seconds prints milliseconds as seconds of at least so many digits, with a fraction only where there is one.
func seconds(ms int64, digits int) string {
	text := fmt.Sprintf("%0*d", digits, ms/1000)
	if ms%1000 != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%03d", ms%1000), "0")
	}
	return text
}

func (s *stage) number(entryID string) string { return strings.Split(entryID, "-")[0] }

// tell writes down what the desk has done.
func (s *stage) tell() {
	for _, c := range s.desk.Changes() {
		s.change(c)
	}
	for _, o := range s.desk.Orders() {
		who := s.number(o.EntryID)
		switch o.Kind {
		case acd.OrderDispatch:
			s.offers[o.Offer.UserID] = o.Offer
			s.say("%s rings for %s", o.Offer.UserID, who)
		case acd.OrderRescind:
			s.say("%s stops ringing for %s: %s", o.Offer.UserID, who, o.Why)
		case acd.OrderPosition:
			wait := ""
			if o.EWTMS >= 0 {
				wait = fmt.Sprintf(", about %s s", seconds(o.EWTMS, 1))
			}
			s.say("%s hears place %d%s", who, o.Position, wait)
		case acd.OrderExit:
			s.exits[who] = o.Outcome
			s.say("%s is told to leave by %s", who, o.Outcome)
		case acd.OrderCallback:
			s.calls[who] = o
			s.say("%s is called at %s for %s", who, o.CallerNumber, o.Offer.UserID)
		}
	}
	for _, r := range s.desk.Records() {
		text := fmt.Sprintf("record %s %s %s", s.number(r.EntryID), r.QueueID, r.Outcome)
		if r.UserID != "" {
			text += fmt.Sprintf(" by %s after %s s, talked %s s", r.UserID, seconds(r.ConnectedMS-r.EnqueuedMS, 1), seconds(r.EndMS-r.ConnectedMS, 1))
		} else {
			text += fmt.Sprintf(" after %s s", seconds(r.EndMS-r.EnqueuedMS, 1))
		}
		if r.Short {
			text += ", short"
		}
		if r.Misses > 0 {
			text += fmt.Sprintf(", missed %d", r.Misses)
		}
		if r.Callback {
			text += ", callback"
		}
		s.say("%s", text)
	}
}

// change writes down breaks and wrap-ups; that an agent rings or talks is told elsewhere.
func (s *stage) change(c acd.Change) {
	was := s.was[c.UserID]
	s.was[c.UserID] = c
	switch {
	case c.Status != was.Status || c.Reason != was.Reason:
		s.say("%s is %s", c.UserID, strings.TrimSpace(c.Status+" "+c.Reason))
	case c.State == acd.StateWrapUp && was.State != acd.StateWrapUp:
		s.say("%s wraps up", c.UserID)
	case c.State == acd.StateWaiting && was.State == acd.StateWrapUp:
		s.say("%s has wrapped up", c.UserID)
	}
}

// act does what a line says that somebody does.
func (s *stage) act(who, what string, words []string) error {
	defer s.tell()
	switch {
	case who == "end" && what == "":
		return nil
	case who == "caller" && len(words) >= 6 && words[4] == "joins":
		return s.join(words[3], words[5], words[6:])
	case s.entries[who] != nil && what == "joins at last":
		return s.ask(who)
	case s.entries[who] != nil && len(words) > 3 && words[3] == "asks":
		return s.keep(who, what)
	case s.entries[who] != nil && len(words) > 3 && words[3] == "is" && what != "is lost":
		return s.ordered(who, what)
	case s.entries[who] != nil && strings.HasSuffix(what, " the call"):
		return s.called(who, what)
	case s.entries[who] != nil:
		outcome, ok := map[string]string{"hangs up": acd.LeftAbandoned, "presses a key": acd.LeftOption, "is lost": acd.LeftFailed, "has left": s.exits[who]}[what]
		if !ok {
			return fmt.Errorf("callers do not do that")
		}
		return s.apply(acd.AppendLeave(nil, s.entries[who].EntryID, "", outcome), nil)
	case !slices.ContainsFunc(s.setup.Agents, func(a acd.Agent) bool { return a.UserID == who }):
		return fmt.Errorf("nobody is called %s", who)
	}
	return s.work(who, what)
}

func (s *stage) apply(op []byte, hear func(reply []byte) error) error {
	reply, _, err := s.desk.Apply(dawn+s.now, op)
	if err != nil || hear == nil {
		return err
	}
	return hear(reply)
}

func (s *stage) join(number, queue string, words []string) (err error) {
	j := &acd.Join{EntryID: fmt.Sprintf("%s-%d", number, s.now), Token: "tok" + number, CallID: "call" + number, Node: "n1", QueueID: queue, CallerNumber: number}
	for i := 0; i+1 < len(words) && err == nil; i += 2 {
		switch words[i] {
		case "priority":
			j.Priority, err = strconv.Atoi(words[i+1])
		case "needs":
			j.Skills, err = skills(words[i+1])
		default:
			return fmt.Errorf("%s is no property of a caller", words[i])
		}
	}
	s.entries[number] = j
	if len(words)%2 == 1 && words[len(words)-1] == "late" { // nobody hears of it yet
		return nil
	}
	return s.ask(number)
}

func (s *stage) ask(number string) error {
	return s.apply(acd.AppendJoin(nil, s.entries[number], 1), func(reply []byte) error {
		joined, _, err := acd.ReadJoined(reply)
		switch {
		case joined.Outcome != "":
			s.say("%s is turned away: %s", number, joined.Outcome)
		case len(joined.Offers) == 0:
			s.say("%s waits at place %d", number, joined.Position)
		}
		for _, o := range joined.Offers {
			s.offers[o.UserID] = o
			s.say("%s rings for %s at once", o.UserID, number)
		}
		return err
	})
}

// verdict writes down what became of an agent's answer.
func (s *stage) verdict(who, done string) func(reply []byte) error {
	return func(reply []byte) error {
		v, err := acd.ReadVerdict(reply)
		if v.Granted {
			s.say("%s %s", who, done)
		} else {
			s.say("%s gets nobody: %s", who, v.Why)
		}
		return err
	}
}

// work does what an agent does.
func (s *stage) work(who, what string) error {
	o := s.offers[who]
	view, _ := s.desk.Agent(who)
	wish := func(action, reason string) error {
		return s.apply(acd.AppendAgent(nil, &acd.AgentOp{UserID: who, Action: action, Reason: reason}, 1), nil)
	}
	miss := func(cause string) error {
		return s.apply(acd.AppendMiss(nil, o.ReservationID, o.Fence, cause), nil)
	}
	switch what {
	case "starts work":
		s.desk.Signal(dawn+s.now, who, true, 0)
		return wish(acd.ActionLogin, "")
	case "logs out":
		return wish(acd.ActionLogout, "")
	case "takes a break":
		return wish(acd.ActionBreak, "lunch")
	case "is back":
		return wish(acd.ActionAvailable, "")
	case "answers": // the leg is answered, and the two are bridged
		if err := s.apply(acd.AppendClaim(nil, o.ReservationID, o.Fence), s.verdict(who, "is connected")); err != nil {
			return err
		}
		return s.apply(acd.AppendConfirm(nil, o.ReservationID, o.Fence), nil)
	case "picks up": // and nobody hears what follows
		s.taken[who] = o
		return s.apply(acd.AppendClaim(nil, o.ReservationID, o.Fence), s.verdict(who, "may be connected"))
	case "was connected":
		return s.apply(acd.AppendConfirm(nil, s.taken[who].ReservationID, s.taken[who].Fence), s.verdict(who, "is connected"))
	case "lets it ring":
		return miss(acd.MissNoAnswer)
	case "declines":
		return miss(acd.MissDeclined)
	case "is busy":
		return miss(acd.MissBusy)
	case "is not reached":
		return miss(acd.MissUnreachable)
	case "cannot be dialled":
		return miss(acd.MissFailed)
	case "hangs up":
		return s.apply(acd.AppendLeave(nil, view.EntryID, "", acd.LeftAnswered), nil)
	case "loses the telephone":
		s.desk.Signal(dawn+s.now, who, false, 0)
	case "has a telephone again":
		s.desk.Signal(dawn+s.now, who, true, 0)
	case "calls somebody":
		s.desk.Signal(dawn+s.now, who, true, 1)
	case "ends the own call":
		s.desk.Signal(dawn+s.now, who, true, 0)
	default:
		return fmt.Errorf("agents do not do that")
	}
	return nil
}
