package acd_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/acd"
)

// ordered does what a supervisor wants of somebody who waits: "is moved to" a place, or "is sent elsewhere".
func (s *stage) ordered(number, what string) error {
	id := s.entries[number].EntryID
	if what == "is sent elsewhere" {
		return s.apply(acd.AppendSend(nil, id), s.answer(number, "may go"))
	}
	text, ok := strings.CutPrefix(what, "is moved to ")
	place, err := strconv.Atoi(text)
	if !ok || err != nil {
		return fmt.Errorf("supervisors do not do that")
	}
	return s.apply(acd.AppendMove(nil, id, place), func(reply []byte) error {
		now, why, err := acd.ReadMoved(reply)
		if why != "" {
			s.say("%s cannot: %s", number, why)
		} else {
			s.say("%s is at place %d", number, now)
		}
		return err
	})
}
