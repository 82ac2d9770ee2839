package esl

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDial_LogsInAndClosesInOrder(t *testing.T) {
	// Proves the log-in over TCP: the password goes out once, as recorded, and exit is answered before FreeSWITCH's notice
	// ends the connection with its words.
	var said []string
	addr := listening(t, func(f *fakeSwitch) {
		f.say("Content-Type: auth/request\n\n")
		f.answer(func(command string) string {
			said = append(said, command)
			if command == "exit" {
				return replyFrame("+OK bye") + goodbye
			}
			return replyFrame("+OK accepted")
		})
	})
	c, err := Dial(soon(t), addr, "ClueCon", quick())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.Send(soon(t), "exit"); err != nil || r.Text != "+OK bye" {
		t.Errorf("exit: %+v %v", r, err)
	}
	_, err = c.Next(soon(t))
	if !errors.Is(err, ErrDisconnected) || !strings.Contains(err.Error(), "Disconnected, goodbye.") {
		t.Errorf("the end: %v", err)
	}
	if got := strings.Join(said, "|"); got != "auth ClueCon|exit" {
		t.Errorf("the switch heard %q", got)
	}
}

func TestDial_PasswordStaysOutOfErrors(t *testing.T) {
	// Proves that neither a refused password nor one that cannot be sent is in the error.
	addr := listening(t, func(f *fakeSwitch) {
		f.say("Content-Type: auth/request\n\n")
		f.answer(func(string) string { return replyFrame("-ERR invalid") })
	})
	for _, password := range []string{"s3cret", "s3cret\nexit"} {
		if _, err := Dial(soon(t), addr, password, quick()); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
}

func TestWatch_EndsASilentConnection(t *testing.T) {
	// Proves that a FreeSWITCH which froze is noticed 10 s after its last sign of life, by fake clock: the probe at 5 s gets
	// no answer for 5 s.
	synctest.Test(t, func(t *testing.T) {
		c := connected(t, Options{}, func(f *fakeSwitch) { f.answer(func(string) string { return "" }) })
		began := time.Now()
		<-c.Done()
		if took := time.Since(began); took != 10*time.Second || !errors.Is(c.Err(), ErrSilent) {
			t.Errorf("after %v: %v", took, c.Err())
		}
	})
}

func TestWatch_LeavesALivingConnection(t *testing.T) {
	// Proves that a connection lives on which answers probes, which sends events but answers nothing while it is busy, and
	// which is silent because of a command that may take long; each for a minute of fake clock.
	for name, drive := range map[string]func(f *fakeSwitch){
		"answers": func(f *fakeSwitch) { f.answer(usual) },
		"events": func(f *fakeSwitch) {
			go f.answer(func(string) string { return "" })
			for i := range 10 {
				<-time.After(6 * time.Second) // behind each probe, before it is given up
				f.say(numbered(i))
			}
		},
		"works": func(f *fakeSwitch) {
			f.answer(func(command string) string {
				if command == "api long" {
					<-time.After(50 * time.Second)
				}
				return usual(command)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := connected(t, Options{CommandTimeout: time.Minute, ProbeTimeout: 13 * time.Second}, drive)
				if name == "works" {
					if _, err := c.API(t.Context(), "long"); err != nil {
						t.Error(err)
					}
				}
				select {
				case <-c.Done():
					t.Errorf("ended: %v", c.Err())
				case <-time.After(59 * time.Second):
				}
			})
		})
	}
}

func TestWatch_AJobsTimeIsNotSilence(t *testing.T) {
	// Proves that a job with an hour to go hides no frozen FreeSWITCH: only the command that starts it may be waited for.
	synctest.Test(t, func(t *testing.T) {
		c := connected(t, Options{JobTimeout: time.Hour}, func(f *fakeSwitch) { f.answer(func(string) string { return "" }) })
		began := time.Now()
		_, _ = c.BgAPI(t.Context(), "originate user/1 &park")
		<-c.Done()
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("after %v: %v", took, c.Err())
		}
	})
}

func TestWatch_AFrozenCommandIsNotWaitedForTwice(t *testing.T) {
	// Proves that silence is allowed only as long as the command that causes it: one with 8 s is given up, and 5 s later
	// so is the connection.
	synctest.Test(t, func(t *testing.T) {
		c := connected(t, Options{CommandTimeout: 8 * time.Second}, func(f *fakeSwitch) { f.answer(func(string) string { return "" }) })
		began := time.Now()
		_, _ = c.API(t.Context(), "status")
		<-c.Done()
		if took := time.Since(began); took != 13*time.Second || !errors.Is(c.Err(), ErrSilent) {
			t.Errorf("after %v: %v", took, c.Err())
		}
	})
}
