package voicemail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// office is an account with a mailbox, two phones of its owner and one of somebody else's, and all that mailboxes
// reach: the configuration, the media store, presence, nodes and a server outside.
type office struct {
	brain.Directory
	*Boxes
	rows brain.AccountRows

	mu       sync.Mutex
	refuse   error             // of the next changes
	changes  int               // that were made
	objects  map[string]string // by key
	pushed   []api.Op
	pushErr  map[string]error // by AOR
	away     []string         // AORs that are not registered
	posts    []string         // bodies
	postErr  error
	hold     chan struct{} // keeps posts waiting until it is closed; nil = none
	log      strings.Builder
	nodeDown bool // no node of the platform's takes orders
}

func open() *office {
	o := &office{objects: map[string]string{}, pushErr: map[string]error{}}
	o.rows = brain.AccountRows{Account: brain.Account{ID: "acc_1"},
		Voicemails: []brain.Voicemail{{ID: "vm_1", AccountID: "acc_1", Name: "ann", NotifyURL: "https://crm.test/"}},
		Users: []brain.SIPUser{{ID: "us_1", AccountID: "acc_1", Username: "1001", VoicemailID: "vm_1"},
			{ID: "us_2", AccountID: "acc_1", Username: "1002"}},
		Devices: []brain.SIPDevice{{ID: "dev_1", UserID: "us_1", AuthUsername: "1001", Realm: "a.test"},
			{ID: "dev_2", UserID: "us_1", AuthUsername: "1001b", Realm: "a.test"},
			{ID: "dev_3", UserID: "us_2", AuthUsername: "1002", Realm: "a.test"}}}
	o.Boxes = &Boxes{Config: o, Objects: store{o}, Presence: o, Nodes: o, Poster: o, Log: slog.New(slog.NewTextHandler(&o.log, nil))}
	return o
}

func (o *office) Directory_() brain.Directory { return o }

func (o *office) message(id string) *brain.VoicemailMessage {
	key := "acc_1/vm/vm_1/" + id + ".wav"
	o.objects[key] = "sound of " + id
	return &brain.VoicemailMessage{ID: id, AccountID: "acc_1", VoicemailID: "vm_1", Caller: "4930555", DurationMS: 3100, CreatedTS: 1_760_000_000,
		ObjectKey: key, Bytes: 100}
}
