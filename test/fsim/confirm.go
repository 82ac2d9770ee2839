package fsim

import (
	"errors"
	"time"
)

// confirmed is what group_confirm_key asks of who has answered: to press the key. He hears group_confirm_file, then nothing for
// group_confirm_read_timeout milliseconds (5000), and so on until he does, hangs up, or group_confirm_timeout seconds are over. Any
// other key begins it anew. It is true when he has pressed it; without the variable at once.
func (c *channel) confirmed() bool {
	key := c.get("group_confirm_key")
	if key == "" || !c.up() {
		return c.up()
	}
	file, pause := c.get("group_confirm_file"), time.Duration(number(c.get("group_confirm_read_timeout")))*time.Millisecond
	if pause == 0 {
		pause = 5 * time.Second
	}
	pressed := make(chan struct{})
	if !c.divert(func() {
		c.askFor(key, file, pause)
		if c.ready() {
			close(pressed)
		}
		c.wait(wait{deaf: true})
	}) {
		return false
	}
	var late <-chan time.Time
	if limit := seconds(c.get("group_confirm_timeout"), 0); limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-pressed:
		return c.up()
	case <-late:
		c.end("ALLOTTED_TIMEOUT", false)
	case <-c.hangup:
	}
	return false
}

// askFor returns when the key was pressed, or the channel does not go on.
func (c *channel) askFor(key, file string, pause time.Duration) {
	for c.ready() {
		got := ""
		take := func(p press) bool {
			got += string(p.digit)
			return true
		}
		if file != "" && file != "silence" {
			if _, err := c.playFile(file, take); errors.Is(err, errNoSound) {
				c.end("DESTINATION_OUT_OF_ORDER", false)
				return
			}
		}
		for got == "" || len(got) < len(key) {
			if c.wait(wait{timeout: pause, digit: take}) != stopped {
				break
			}
		}
		if got == key {
			return
		}
	}
}
