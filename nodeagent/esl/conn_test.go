package esl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestConn_PeerThatClosesAtAnyByte(t *testing.T) {
	// Proves that wherever a session is cut nothing hangs, panics or is made up: recorded sessions are played up to each of
	// their bytes to a Conn whose commands wait, and each command gets the recorded reply or ErrClosed.
	for _, name := range []string{"in-pipelined", "in-sendevent", "in-log", "in-filter"} {
		text := recording(t, name+".fs-to-app.txt")
		commands := recordedCommands(t, name)
		whole, err := play(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for cut := 0; cut <= len(text); cut++ {
			answered, events, err := session(t, commands, text[:cut])
			if errors.Is(err, ErrProtocol) {
				t.Errorf("%s cut at %d: %v", name, cut, err)
			}
			if cut == len(text) && (answered != len(whole.replies) || events != len(whole.events)) {
				t.Errorf("%s whole: %d replies and %d events, want %d and %d", name, answered, events, len(whole.replies), len(whole.events))
			}
		}
	}
}

// recordedCommands are the commands of a recording. The body that one of them has reads as one more, without a reply.
func recordedCommands(t *testing.T, name string) []string {
	t.Helper()
	return strings.Split(strings.TrimSuffix(recording(t, name+".app-to-fs.txt"), "\n\n"), "\n\n")
}

// session plays text to a Conn with those commands waiting, and closes. It returns how many replies and events came,
// and why the connection ended.
func session(t *testing.T, commands []string, text string) (answered, events int, reason error) {
	t.Helper()
	ours, theirs := net.Pipe()
	c := start(ours, quick().withDefaults())
	var waiting []*waiter
	for _, command := range commands {
		w := &waiter{verb: verbOf(command), reply: make(chan Reply, 1)}
		if err := c.expectReply(w); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, w)
	}
	_, _ = io.WriteString(theirs, text) // fails where the text itself ends the session
	_ = theirs.Close()
	ctx := soon(t)
	for {
		_, err := c.Next(ctx)
		if errors.Is(err, ErrClosed) {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(text), err)
		}
		events++
	}
	for _, w := range waiting {
		if len(w.reply) == 1 {
			answered++
		}
	}
	_ = c.Close()
	return answered, events, c.Err()
}

func TestConn_GarbageEndsItWithAReason(t *testing.T) {
	// Proves that bytes which are no protocol, replies nobody asked for, and replies of the wrong kind end the connection
	// with ErrProtocol for Next and for the command that waits; a thousand random streams end it or leave it, without a panic.
	for _, says := range []string{"\x00\x01\x02\n\n", replyFrame("+OK") + replyFrame("+OK"), apiFrame("x"), "Content-Type: api/response\nContent-Length: x\n\n"} {
		c := connected(t, quick(), func(f *fakeSwitch) {
			_, _ = f.command()
			f.say(says)
			_, _ = io.Copy(io.Discard, f)
		})
		_, err := c.Send(soon(t), "linger 5")
		_, next := c.Next(soon(t))
		if !errors.Is(next, ErrProtocol) || err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("%.30q: %v, %v", says, next, err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	good := recording(t, "in-pipelined.fs-to-app.txt")
	commands, broken := recordedCommands(t, "in-pipelined"), 0
	for range 1000 {
		bytes := []byte(good)
		for range 1 + rng.IntN(5) {
			bytes[rng.IntN(len(bytes))] = byte(rng.Uint32())
		}
		if _, _, err := session(t, commands, string(bytes)); errors.Is(err, ErrProtocol) {
			broken++
		}
	}
	if broken < 100 || broken > 900 {
		t.Errorf("%d of 1000 damaged streams ended in ErrProtocol: the damage says nothing", broken)
	}
}

func TestConn_UnreadableEventIsAGap(t *testing.T) {
	// Proves that an event which cannot be read is told as a gap in its place, in both formats, and the connection lives.
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.say(numbered(1) + plainFrame("no header\n\n") + numbered(2) + jsonFrame(`{"cut`) + numbered(3))
		f.answer(usual)
	})
	var got []string
	for range 5 {
		e, err := c.Next(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Get("N"), "/", e.Lost()))
	}
	if seen := strings.Join(got, " "); seen != "1/0 /1 2/0 /1 3/0" {
		t.Errorf("%s", seen)
	}
}

func TestConn_BurstWithSlowReader(t *testing.T) {
	// Proves that 100,000 events of 6 kB to a reader that takes none block nobody and stay within QueueSize: commands are
	// answered meanwhile, memory grows by no more than the queue may hold, one marker has the exact number, the newest events
	// follow in order, and after a snapshot by command the next event is there.
	const burst, size = 100_000, 1000
	c := connected(t, Options{KeepAlive: -1, QueueSize: size}, func(f *fakeSwitch) {
		pad := strings.Repeat("variable_padding: "+strings.Repeat("x", 180)+"\n", 30)
		_, _ = f.command()
		for i := range burst {
			f.say(plainFrame(fmt.Sprintf("Event-Name: HEARTBEAT\nN: %d\n%s\n", i, pad)))
		}
		f.say(replyFrame("+OK event listener enabled plain"))
		f.answer(func(command string) string { return usual(command) + numbered(burst) })
	})
	before := heap()
	patient, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // the race detector is slow
	defer cancel()
	if err := c.Subscribe(patient, "ALL"); err != nil { // its reply is behind all of the burst
		t.Fatal(err)
	}
	grown := heap() - before
	t.Logf("%d events of about 6 kB, none read: heap grew by %.1f MB, %d are kept", burst, float64(grown)/1e6, size)
	if grown > 2*size*6000 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	e, err := c.Next(soon(t))
	if err != nil || e.Lost() != burst-size {
		t.Fatalf("first comes %d lost, %v", e.Lost(), err)
	}
	for i := burst - size; i < burst; i++ {
		if e, err = c.Next(soon(t)); err != nil || e.Get("N") != fmt.Sprint(i) {
			t.Fatalf("event %d is %q with %d lost, %v", i, e.Get("N"), e.Lost(), err)
		}
	}
	if snapshot, err := c.API(soon(t), "show channels as json"); err != nil || snapshot == "" {
		t.Errorf("snapshot %q, %v", snapshot, err)
	}
	if e, err = c.Next(soon(t)); err != nil || e.Get("N") != fmt.Sprint(burst) {
		t.Errorf("behind the snapshot: %+v %v", e, err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestConn_BurstWhileReading(t *testing.T) {
	// Proves that with a reader that is slower than the burst nothing is lost without being told: events taken and events
	// that the markers count are all that were sent, each in order.
	const burst = 100_000
	c := connected(t, Options{KeepAlive: -1, QueueSize: 64}, func(f *fakeSwitch) {
		for i := range burst {
			f.say(numbered(i))
		}
	})
	told, last := 0, -1
	ctx := soon(t)
	for {
		e, err := c.Next(ctx)
		if errors.Is(err, ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Lost() > 0 {
			told += e.Lost()
			continue
		}
		told++
		if n := number(t, e); n <= last || n != told-1 {
			t.Fatalf("event %d after %d, with %d told of", n, last, told)
		} else {
			last = n
		}
		if told%10 == 0 {
			runtime.Gosched()
		}
	}
	if told != burst || last != burst-1 {
		t.Errorf("told of %d, last %d", told, last)
	}
}

func number(t *testing.T, e *Event) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(e.Get("N"), &n); err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	return n
}

func TestQueue_IsBoundedByMemoryToo(t *testing.T) {
	// Proves that large events fill the queue before QueueSize does, that a dropped marker's count is not lost, and that an
	// event larger than the whole queue still passes alone.
	q := newQueue(100, 10_000)
	q.put(&Event{lost: 7})
	for i := range 10 {
		q.put(NewEvent(strings.Repeat("x", 4000), Header{"N", fmt.Sprint(i)}))
	}
	if e := q.take(); e.Lost() != 7+8 {
		t.Errorf("lost %d", e.Lost())
	}
	if e := q.take(); e.Get("N") != "8" {
		t.Errorf("first kept is %+v", e.headers)
	}
	q.put(NewEvent(strings.Repeat("x", 20_000), Header{"N", "large"}))
	if marker, large := q.take(), q.take(); marker.Lost() != 1 || large.Get("N") != "large" || q.take() != nil {
		t.Errorf("%d lost, then %+v", marker.Lost(), large.headers)
	}
}

func TestConn_ManyWaitingCommandsAreRefused(t *testing.T) {
	// Proves the bound on commands without a reply: with maxPending of them the next is ErrBusy at once.
	synctest.Test(t, func(t *testing.T) {
		c := connected(t, quick(), func(f *fakeSwitch) { f.answer(func(string) string { return "" }) })
		var wg sync.WaitGroup
		for range maxPending {
			wg.Go(func() { _, _ = c.API(t.Context(), "status") })
		}
		synctest.Wait()
		if _, err := c.API(t.Context(), "status"); !errors.Is(err, ErrBusy) {
			t.Errorf("one more: %v", err)
		}
		_ = c.Close()
		wg.Wait()
	})
}

func TestConn_CommandsLookAsFreeSWITCHWantsThem(t *testing.T) {
	// Proves the bytes of each command against those of the recordings or of the facts, and what their replies become.
	seen := make(chan string, 20)
	c := connected(t, Options{KeepAlive: -1, JSON: true}, func(f *fakeSwitch) {
		f.answer(func(command string) string {
			seen <- command
			_, id, isJob := strings.Cut(command, "Job-UUID: ")
			switch {
			case isJob && strings.Contains(command, "busy"):
				return replyFrame("+OK Job-UUID: "+id) + jsonFrame(`{"Event-Name":"BACKGROUND_JOB","Job-UUID":"`+id+`","_body":"-ERR USER_BUSY\n"}`)
			case isJob: // the other order, which FreeSWITCH never sends on one connection, is as good
				return plainFrame("Event-Name: BACKGROUND_JOB\nJob-UUID: "+id+"\n\n+OK leg-1\n") + replyFrame("+OK Job-UUID: "+id)
			}
			return usual(command)
		})
	})
	ctx := soon(t)
	check := func(err error, want ...string) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		for _, w := range want {
			if got, _, _ := strings.Cut(<-seen, "Job-UUID"); got != w {
				t.Errorf("wrote %q, want %q", got, w)
			}
		}
	}
	const uuid = "8b912e94-fd32-4e20-8c5d-6ec9f01338a0"
	check(c.Execute(ctx, "", "answer", "", Execute{}), "sendmsg\ncall-command: execute\nexecute-app-name: answer\nexecute-app-arg: ")
	check(c.Execute(ctx, uuid, "playback", "/a b.wav", Execute{EventUUID: "e-1", Lock: true, Loops: 3}),
		"sendmsg "+uuid+"\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: /a b.wav\nloops: 3\nevent-lock: true\nEvent-UUID: e-1")
	check(c.Hangup(ctx, uuid, "USER_BUSY"), "api uuid_kill "+uuid+" USER_BUSY")
	check(c.Hangup(ctx, uuid, ""), "api uuid_kill "+uuid)
	check(c.Subscribe(ctx, "DTMF", "CUSTOM", "conference::maintenance"), "event json DTMF CUSTOM conference::maintenance")
	result, err := c.BgAPI(ctx, "originate user/1 &park")
	check(err, "event json BACKGROUND_JOB", "bgapi originate user/1 &park\n")
	if result != "+OK leg-1" {
		t.Errorf("result %q", result)
	}
	_, err = c.BgAPI(ctx, "originate user/busy &park")
	check(nil, "bgapi originate user/busy &park\n") // subscribed once
	if refused, ok := errors.AsType[*CommandError](err); !ok || refused.Reason() != "USER_BUSY" || refused.Command != "bgapi originate" {
		t.Errorf("busy: %v", err)
	}
	_, err = c.Send(ctx, "noevents")
	check(err, "noevents")
	_, err = c.BgAPI(ctx, "status")
	check(err, "event json BACKGROUND_JOB", "bgapi status\n")
}

func TestConn_EventsAfterLingerStillCome(t *testing.T) {
	// Proves that the notice of linger, as recorded, ends nothing: commands and events work behind it, and the final
	// notice then ends the connection.
	const linger = "Content-Type: text/disconnect-notice\nControlled-Session-UUID: u\nContent-Disposition: linger\n" +
		"Channel-Name: sofia/lab/x\nLinger-Time: 5\nContent-Length: 0\n\n"
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.say(linger)
		_, _ = f.command()
		f.say(replyFrame("+OK") + numbered(1) + strings.Replace(goodbye, "Content-Length", "Content-Disposition: disconnect\nContent-Length", 1))
		_, _ = io.Copy(io.Discard, f)
	})
	if _, err := c.Send(soon(t), "filter delete all"); err != nil {
		t.Error(err)
	}
	if e, err := c.Next(soon(t)); err != nil || e.Get("N") != "1" {
		t.Errorf("%v %v", e, err)
	}
	if _, err := c.Next(soon(t)); !errors.Is(err, ErrDisconnected) {
		t.Errorf("the end: %v", err)
	}
}

func TestConn_ResultThatComesTwiceBlocksNobody(t *testing.T) {
	// Proves that the reader hands a result to its waiter once and goes on: the second copy goes to Next.
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.answer(func(command string) string {
			_, id, isJob := strings.Cut(command, "Job-UUID: ")
			if !isJob {
				return replyFrame("+OK")
			}
			job := plainFrame("Event-Name: BACKGROUND_JOB\nJob-UUID: " + id + "\n\n+OK")
			return job + job + job + replyFrame("+OK")
		})
	})
	if result, err := c.BgAPI(soon(t), "status"); err != nil || result != "+OK" {
		t.Errorf("%q %v", result, err)
	}
	for range 2 {
		if e, err := c.Next(soon(t)); err != nil || e.Name() != "BACKGROUND_JOB" {
			t.Errorf("%v %v", e, err)
		}
	}
}

func TestConn_JobEndsWithTheConnectionOrItsTime(t *testing.T) {
	// Proves that BgAPI never waits for ever: without a deadline of its own JobTimeout ends it, and the connection's end does.
	synctest.Test(t, func(t *testing.T) {
		o := quick()
		o.JobTimeout = time.Minute
		c := connected(t, o, func(f *fakeSwitch) { f.answer(usual) })
		began := time.Now()
		if _, err := c.BgAPI(t.Context(), "msleep 1"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		go func() {
			<-time.After(time.Second)
			_ = c.Close()
		}()
		if _, err := c.BgAPI(t.Context(), "msleep 1"); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}
