package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// tone that is heard when somebody joins or leaves.
const memberTone = "tone_stream://%(150,0,620)"

// platformMusic is FreeSWITCH's stream of the platform's music on hold.
const platformMusic = "local_stream://moh"

// roomName is what a room may be called: it is a word of FreeSWITCH's commands.
var roomName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,120}$`)

// seat is a call's place in a conference.
type seat struct {
	room, key string // key: where the room's recording goes; "" = none
	joined    bool
	removed   string // what took it out: kicked, ended
}

// rooms are the conferences of this node in which calls of ours are.
type rooms struct {
	mu     sync.Mutex
	byName map[string]*room
}

type room struct {
	members   int
	key, file string // of the recording; file "" = none
}

// conference puts the caller into a room until he leaves, is removed, or the room ends.
func (k *call) conference(ctx context.Context, seq int64, p api.CommandParams) (result, error) {
	if !roomName.MatchString(p.Room) {
		return failed("no room"), nil
	}
	if before := k.before; before != nil && before.Variable(markVariable) == strconv.FormatInt(seq, 10) && before.Variable("conference_member_id") != "" {
		k.before = nil // he was in the room while there was no agent, and has left it
		return result{api.OutcomeLeft, map[string]string{"reason": ""}}, nil
	}
	if err := k.pickUp(ctx, false); err != nil {
		return result{}, err
	}
	k.keys.clear()
	k.seat = seat{room: p.Room, key: p.Key}
	if err := k.letGo(ctx, seq, "conference_member_id"); err != nil {
		return result{}, err
	}
	defer k.holdOn(ctx)
	if err := k.set(ctx, k.roomVariables(ctx, p)...); err != nil {
		return result{}, err
	}
	arg := p.Room + "@sipio"
	if p.Moderator {
		arg += "+flags{moderator}"
	}
	id, err := k.begin(ctx, "conference", arg)
	if err != nil {
		return result{}, err
	}
	last := k.conferenceEnd(ctx, id)
	k.keys.clear()
	if k.stopping {
		return result{}, nil // he stays in the room, and its recording goes on
	}
	done := k.conferenceResult(ctx, last)
	k.leaveRoom(ctx, done.data)
	return done, nil
}

// roomVariables are the variables by which a member says what the room is to be like. The one that opens it decides.
func (k *call) roomVariables(ctx context.Context, p api.CommandParams) []string {
	set := []string{"conference_max_members=" + strconv.Itoa(max(p.MaxMembers, 0))}
	if p.WaitModerator {
		set = append(set, "conference_flags=wait-mod")
		if p.MusicKey == "" {
			set = append(set, "conference_moh_sound="+platformMusic)
		}
	}
	if p.AnnounceMember {
		set = append(set, "conference_enter_sound="+memberTone, "conference_exit_sound="+memberTone)
	}
	if p.MusicKey != "" {
		if paths, _ := k.fetch(ctx, []api.MediaRef{{Key: p.MusicKey}}); len(paths) == 1 {
			set = append(set, "conference_moh_sound="+paths[0])
		}
	}
	return set
}

// conferenceEnd waits until the caller is out of the room. Nil when the last event was lost or he has gone.
func (k *call) conferenceEnd(ctx context.Context, id string) Event {
	check := time.NewTicker(confirmEvery)
	defer check.Stop()
	for {
		_, why := k.next(ctx, check.C)
		if e, ok := k.over(id); ok {
			return e
		}
		switch {
		case why == wakeGone:
			return nil
		case why == wakeTimer || k.gap:
			k.gap = false
			state, err := readRoom(ctx, k.api, k.seat.room)
			if err != nil && !errors.Is(err, errNoRoom) {
				continue
			}
			if in := state.has(k.uuid); !in && k.seat.joined {
				return nil
			} else if in && !k.seat.joined {
				k.joinRoom(ctx)
			}
		}
	}
}

// takeConference notes what an event says of this call's place.
func (k *call) takeConference(ctx context.Context, e Event) {
	if e.Subclass() != "conference::maintenance" || k.seat.room == "" || e.Get("Conference-Name") != k.seat.room || e.UUID() != k.uuid {
		return
	}
	switch e.Get("Action") {
	case "add-member":
		k.joinRoom(ctx)
	case "kick-member":
		k.seat.removed = "kicked"
	case "hup-member":
		k.seat.removed = "ended"
	}
}

// joinRoom counts the member. The first one of a room that is to be recorded starts the recording.
func (k *call) joinRoom(ctx context.Context) {
	if k.seat.joined {
		return
	}
	k.seat.joined = true
	r := &k.of.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.byName[k.seat.room]
	if in == nil {
		in = &room{}
		r.byName[k.seat.room] = in
	}
	in.members++
	if k.seat.key == "" || in.file != "" {
		return
	}
	file, err := k.of.newNotedFile(k.seat.key)
	if err == nil {
		_, err = k.api(ctx, "conference "+k.seat.room+" recording start "+file)
	}
	if err != nil {
		k.log.Error("a conference that is to be recorded is not", "room", k.seat.room, "error", err)
		return
	}
	in.key, in.file = k.seat.key, file
}

// leaveRoom counts the member out. The last one stores the recording, and tells of it.
func (k *call) leaveRoom(ctx context.Context, data map[string]string) {
	left := k.seat
	k.seat = seat{}
	if !left.joined {
		return
	}
	in, last := k.of.rooms.leave(left.room)
	if !last || in.file == "" {
		return
	}
	if !k.closed {
		if _, err := k.api(ctx, "conference "+left.room+" recording stop "+in.file); err != nil {
			k.log.Debug("the recording of a conference ended with it", "error", err)
		}
	}
	awaitClosed(ctx, in.file)
	if size, err := audioBytes(in.file); err == nil {
		data["duration_ms"] = strconv.FormatInt(size/bytesPerMS, 10)
	}
	if err := k.store(ctx, in.key, in.file, data); err != nil {
		k.log.Error("the recording of a conference could not be stored; it stays where it is", "room", left.room, "file", in.file, "error", err)
	}
}

func (r *rooms) leave(name string) (*room, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.byName[name]
	if in == nil {
		return nil, false
	}
	if in.members--; in.members > 0 {
		return in, false
	}
	delete(r.byName, name)
	return in, true
}

// awaitClosed waits until a file has not grown for half a second: FreeSWITCH tells nobody in particular when it has
// closed the recording of a room.
func awaitClosed(ctx context.Context, file string) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	size, still := int64(-1), 0
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline) && still < 2; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, _ := audioBytes(file)
		if still++; now != size {
			size, still = now, 0
		}
	}
}

// conferenceResult says how the caller left, or why he was not let in.
func (k *call) conferenceResult(ctx context.Context, last Event) result {
	joined := k.seat.joined || (last != nil && last.Variable("conference_member_id") != "")
	switch {
	case k.seat.removed == "ended":
		return result{api.OutcomeEnded, map[string]string{}}
	case joined:
		return result{api.OutcomeLeft, map[string]string{"reason": k.seat.removed}}
	}
	reason := "full"
	state, err := readRoom(ctx, k.api, k.seat.room)
	switch {
	case err != nil:
		return failed(fmt.Sprintf("the room could not be joined: %v", err))
	case state.Locked:
		reason = "locked"
	}
	return result{api.OutcomeDenied, map[string]string{"reason": reason}}
}

// roomState is what is read of FreeSWITCH's `conference ROOM json_list`.
type roomState struct {
	Locked  bool `json:"locked"`
	Members []struct {
		Type     string `json:"type"` // caller; recording_node
		ID       int64  `json:"id"`
		UUID     string `json:"uuid"`
		Name     string `json:"caller_id_name"`
		Number   string `json:"caller_id_number"`
		JoinedS  int64  `json:"join_time"` // seconds ago
		JoinFlag struct {
			CanSpeak  bool `json:"can_speak"`
			Moderator bool `json:"is_moderator"`
		} `json:"flags"`
	} `json:"members"`
}

func (s roomState) has(channel string) bool {
	for _, m := range s.Members {
		if m.UUID == channel {
			return true
		}
	}
	return false
}

// errNoRoom says that a room is not there: rooms come and go with their members.
var errNoRoom = errors.New("nobody is in that conference here")

// readRoom asks FreeSWITCH who is in a room.
func readRoom(ctx context.Context, order func(context.Context, string) (string, error), name string) (roomState, error) {
	body, err := order(ctx, "conference "+name+" json_list")
	if err != nil {
		if isNotFound(said(err)) {
			return roomState{}, errNoRoom
		}
		return roomState{}, err
	}
	if isNotFound(body) {
		return roomState{}, errNoRoom
	}
	var list []roomState
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return roomState{}, fmt.Errorf("read the members of %s: %w", name, err)
	}
	if len(list) == 0 {
		return roomState{}, errNoRoom
	}
	return list[0], nil
}

var notFound = regexp.MustCompile(`(?i)conference .* not found`)

// said is what FreeSWITCH said when it refused an order: all of it, as the error's own text is cut.
func said(err error) string {
	var refusal interface {
		error
		Reason() string
	}
	if errors.As(err, &refusal) {
		return refusal.Reason()
	}
	return err.Error()
}

func isNotFound(text string) bool { return notFound.MatchString(text) }
