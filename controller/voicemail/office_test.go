package voicemail

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// office is an account with a mailbox, two phones of its owner and one of somebody else's, and all that mailboxes
// reach: the configuration, the media store, presence, nodes and a server outside.
type office struct {
	*Boxes
	log *slog.Logger

	mu       sync.Mutex // guards what follows
	rows     brain.AccountRows
	refuse   error // of changes
	changes  int   // that were made
	objects  map[string]string
	pushed   []api.Op
	pushErr  map[string]error // by AOR
	refused  string           // what the node says to every op; "" = it does it
	posts    []string         // bodies
	postErr  error
	hold     chan struct{} // keeps posts waiting until it is closed; nil = none
	said     strings.Builder
	nameless bool // the platform knows no node
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
	o.log = slog.New(slog.NewTextHandler(&o.said, nil))
	o.Boxes = &Boxes{Config: books{o}, Objects: cellar{o}, Presence: o, Nodes: o, Poster: o, Log: o.log}
	return o
}

// message is one whose sound is stored, and which is in no box yet.
func (o *office) message(id string) *brain.VoicemailMessage {
	key := "acc_1/vm/vm_1/" + id + ".wav"
	o.objects[key] = "sound of " + id
	return &brain.VoicemailMessage{ID: id, AccountID: "acc_1", VoicemailID: "vm_1", Caller: "4930555", DurationMS: 3100, CreatedTS: 1_760_000_000,
		ObjectKey: key, Bytes: 100}
}

// books is the configuration of an office.
type books struct{ o *office }

func (b books) Directory() brain.Directory { return page{o: b.o} }

func (b books) Change(_ context.Context, _ string, changes ...brain.Change) (int64, error) {
	o := b.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return 0, o.refuse
	}
	for _, c := range changes {
		msg := c.Resource.(*brain.VoicemailMessage)
		at := slices.IndexFunc(o.rows.Messages, func(m *brain.VoicemailMessage) bool { return m.ID == msg.ID })
		switch {
		case c.Op == brain.OpCreate && at >= 0:
			return 0, brain.Errorf(brain.EConflict, "%s is there", msg.ID)
		case c.Op == brain.OpCreate && !slices.ContainsFunc(o.rows.Voicemails, func(v brain.Voicemail) bool { return v.ID == msg.VoicemailID }):
			return 0, brain.Errorf(brain.EInvalid, "no voicemail %s", msg.VoicemailID)
		case c.Op == brain.OpCreate:
			o.rows.Messages = append(slices.Clone(o.rows.Messages), msg)
		case at < 0:
			return 0, brain.Errorf(brain.ENotFound, "no message %s", msg.ID)
		case c.Op == brain.OpUpdate:
			o.rows.Messages = slices.Clone(o.rows.Messages)
			o.rows.Messages[at] = msg
		default:
			o.rows.Messages = slices.Delete(slices.Clone(o.rows.Messages), at, at+1)
		}
		o.changes++
	}
	return int64(o.changes), nil
}

// page is the configuration of an office at this moment.
type page struct {
	brain.Directory
	o *office
}

func (p page) ByAccount(id string) *brain.AccountConfig {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	if id != p.o.rows.Account.ID {
		return nil
	}
	return brain.NewAccountConfig(1, p.o.rows)
}

func (p page) NodeByName(name string) *brain.Node {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	if p.o.nameless {
		return nil
	}
	return &brain.Node{Name: name, AgentURL: "http://" + name}
}

// cellar is the media store of an office.
type cellar struct{ o *office }

func (c cellar) Read(_ context.Context, key string, _ int64) ([]byte, error) {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	if _, ok := c.o.objects[key]; !ok {
		return nil, brain.Errorf(brain.ENotFound, "no object %s", key)
	}
	return []byte(c.o.objects[key]), nil
}

func (c cellar) Delete(_ context.Context, key string) error {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	delete(c.o.objects, key)
	return nil
}

// State says that the first phone of each user is at node n1, the second at n2, and that 1001c is not registered.
func (o *office) State(context.Context, string) (api.PresenceState, error) {
	return api.PresenceState{Devices: []api.DevicePresence{{AOR: "sip:1001@a.test", UserID: "us_1", Contacts: 1, Node: "n1"},
		{AOR: "sip:1001b@a.test", UserID: "us_1", Contacts: 2, Node: "n2"}, {AOR: "sip:1002@a.test", UserID: "us_2", Contacts: 1, Node: "n1"},
		{AOR: "sip:1001c@a.test", UserID: "us_1", Node: "n1"}}}, nil
}

func (o *office) Push(_ context.Context, n *brain.Node, op api.Op) (api.OpReply, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.pushErr[n.Name]; err != nil {
		return api.OpReply{}, err
	}
	o.pushed = append(o.pushed, op)
	return api.OpReply{ID: op.ID, OK: o.refused == "", Error: o.refused}, nil
}

func (o *office) Post(ctx context.Context, _, _, _ string, body []byte) error {
	if o.hold != nil {
		select {
		case <-o.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.posts = append(o.posts, string(body))
	return o.postErr
}
