package controller

import (
	"testing"

	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
)

// The largest message that the actors of a shard make fits into the journal, and so does the largest operation that one
// brain passes on to another: the shard would be lost otherwise.
func TestBounds_WhatActorsWriteFitsIntoTheJournal(t *testing.T) {
	if actor.MaxMessage > journal.MaxRecord {
		t.Errorf("actors write up to %d bytes at once, the journal takes %d", actor.MaxMessage, journal.MaxRecord)
	}
}
