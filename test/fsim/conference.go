package fsim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// conference is one room: everybody hears the sum of all others. What is audio of it is guarded by the studio's lock.
type conference struct {
	s       *Server
	name    string
	uuid    string
	profile string
	created time.Time

	mu      sync.Mutex
	members []*member
	locked  bool
	waitMod bool // members hear music until a moderator is there
	max     int
	moh     string
	record  map[string]*recorder
	ended   bool

	sum    [frameSamples]int32
	player *player // `conference NAME play`
	notice []*player
	blank  track // what a recording of the room hears
}

// member is one party of a room.
type member struct {
	room      *conference
	c         *channel
	id        int
	moderator bool
	endconf   bool
	joined    time.Time
	gone      chan struct{} // closed when he is to leave

	// guarded by the studio's lock
	muted, deaf bool
	music       *player
}

// maintenance is the event of all that happens in a room.
const maintenance = "conference::maintenance"

// frame is what a member hears.
func (m *member) frame(b *block) bool {
	if m.music != nil {
		return m.music.frame(b)
	}
	for i := range b {
		v := m.room.sum[i]
		if m.speaks() {
			v -= int32(m.c.track.in[i])
		}
		if m.deaf {
			v = 0
		}
		b[i] = int16(max(-32768, min(32767, v)))
	}
	return true
}

// speaks is called under the studio's lock.
func (m *member) speaks() bool { return !m.muted && m.music == nil && m.c.track.came }

// mix sums up what all members say. It runs under the studio's lock, before anybody hears.
func (r *conference) mix() {
	clear(r.sum[:])
	for _, m := range r.mixing() {
		if m.speaks() {
			for i, v := range m.c.track.in {
				r.sum[i] += int32(v)
			}
		}
	}
	var b block
	for _, p := range append([]*player{r.player}, r.notice...) {
		if p != nil && p.frame(&b) {
			for i, v := range b {
				r.sum[i] += int32(v)
			}
		}
	}
	for i, v := range r.sum {
		r.blank.in[i] = int16(max(-32768, min(32767, v)))
	}
	r.blank.came = true
	for _, one := range r.blank.bugs {
		one.hear(&r.blank)
	}
}

// mixing are the members as the studio sees them: a copy that is made when somebody comes or goes.
func (r *conference) mixing() []*member { return r.s.studio.seats[r] }

// seat makes the studio see who is there.
func (r *conference) seat() {
	r.mu.Lock()
	list, ended := slices.Clone(r.members), r.ended
	r.mu.Unlock()
	r.s.studio.mu.Lock()
	defer r.s.studio.mu.Unlock()
	if ended {
		delete(r.s.studio.rooms, r)
		delete(r.s.studio.seats, r)
		return
	}
	r.s.studio.rooms[r] = struct{}{}
	r.s.studio.seats[r] = list
}

// appConference lets the caller into NAME@PROFILE+flags{a|b}; the first makes the room.
func appConference(c *channel, data string) {
	name, flagText, _ := strings.Cut(data, "+flags{")
	flagText = strings.TrimSuffix(flagText, "}") + "|" + c.get("conference_member_flags")
	name, _, _ = strings.Cut(strings.TrimSpace(name), "+")
	name, profile, _ := strings.Cut(name, "@")
	if name == "" || !c.preAnswer() || !c.answer() {
		return
	}
	flags := strings.FieldsFunc(flagText, func(r rune) bool { return r == '|' || r == ',' || r == ' ' })
	r, m := c.s.enterRoom(c, name, profile, flags)
	if m == nil {
		return
	}
	c.mu.Lock()
	c.room = m
	c.vars.set("conference_name", r.name)
	c.vars.set("conference_uuid", r.uuid)
	c.vars.set("conference_member_id", strconv.Itoa(m.id))
	c.mu.Unlock()
	r.tell(m, "add-member")
	r.chime(c.get("conference_enter_sound"))
	c.s.studio.push(c.track, m)
	r.moderated()
	for how := broken; how == broken; {
		how = c.wait(wait{done: m.gone, digit: func(press) bool { return false }})
	}
	c.s.studio.pop(c.track, m)
	r.leave(m)
	r.chime(c.get("conference_exit_sound"))
	c.mu.Lock()
	c.room = nil
	c.mu.Unlock()
	if v := c.get("hangup_after_conference"); c.ready() && truth(v) {
		c.end(normalClearing, false)
	}
}

// enterRoom finds or makes a room and takes a seat in it; no member: it is locked or full.
func (s *Server) enterRoom(c *channel, name, profile string, flags []string) (*conference, *member) {
	s.mu.Lock()
	r := s.rooms[name]
	fresh := r == nil
	if fresh {
		r = &conference{s: s, name: name, uuid: newUUID(), profile: profile, created: time.Now(), record: map[string]*recorder{}}
		r.max, r.moh = number(c.get("conference_max_members")), c.get("conference_moh_sound")
		all := append(strings.FieldsFunc(c.get("conference_flags"), func(r rune) bool { return r == '|' || r == ',' }), flags...)
		r.waitMod = slices.Contains(all, "wait-mod")
		s.rooms[name] = r
	}
	r.mu.Lock()
	full := r.locked || r.max > 0 && len(r.members) >= r.max
	var m *member
	if !full {
		s.memberID++
		m = &member{room: r, c: c, id: s.memberID, joined: time.Now(), gone: make(chan struct{}), moderator: slices.Contains(flags, "moderator"),
			endconf: slices.Contains(flags, "endconf"), muted: slices.Contains(flags, "mute"), deaf: slices.Contains(flags, "deaf")}
		r.members = append(r.members, m)
	}
	r.mu.Unlock()
	s.mu.Unlock()
	if fresh {
		r.tell(nil, "conference-create")
	}
	if m != nil {
		r.seat()
	}
	return r, m
}

// leave takes a member out. The last one ends the room, and so does one with endconf.
func (r *conference) leave(m *member) {
	r.mu.Lock()
	r.members = slices.DeleteFunc(r.members, func(one *member) bool { return one == m })
	empty := len(r.members) == 0
	var others []*member
	if m.endconf && !slices.ContainsFunc(r.members, func(one *member) bool { return one.endconf }) {
		others = slices.Clone(r.members)
	}
	r.mu.Unlock()
	r.seat()
	r.tell(m, "del-member")
	for _, one := range others {
		one.quit()
	}
	if empty {
		r.close()
	}
}

// quit asks a member to leave.
func (m *member) quit() bool {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	select {
	case <-m.gone:
		return false
	default:
		close(m.gone)
		return true
	}
}

func (r *conference) close() {
	r.s.mu.Lock()
	r.mu.Lock()
	still := len(r.members) > 0 || r.ended
	if !still {
		r.ended = true
		delete(r.s.rooms, r.name)
	}
	paths := slices.Sorted(maps.Keys(r.record))
	r.mu.Unlock()
	r.s.mu.Unlock()
	if still {
		return
	}
	for _, path := range paths {
		r.stopRecord(path)
	}
	r.seat()
	r.tell(nil, "conference-destroy")
}

// moderated gives members music while they wait for a moderator, and takes it away.
func (r *conference) moderated() {
	r.mu.Lock()
	waiting := r.waitMod && !slices.ContainsFunc(r.members, func(m *member) bool { return m.moderator })
	list, moh := slices.Clone(r.members), r.moh
	r.mu.Unlock()
	for _, m := range list {
		var music *player
		if waiting {
			opened, err := r.s.openSound(moh)
			if err != nil {
				opened = &clip{samples: make([]int16, frameSamples), loops: -1}
			}
			if one, ok := opened.(*clip); ok {
				one.loops = -1
			}
			music = newPlayer(opened)
		}
		r.s.studio.mu.Lock()
		if !waiting || m.music == nil {
			m.music = music
		}
		r.s.studio.mu.Unlock()
	}
}

// chime plays a sound to all for somebody who comes or goes.
func (r *conference) chime(name string) {
	if name == "" || name == "none" {
		return
	}
	opened, err := r.s.openSound(name)
	if err != nil {
		r.s.log.Info("sound of a conference", "room", r.name, "error", err)
		return
	}
	p := newPlayer(opened)
	r.s.studio.mu.Lock()
	r.notice = append(slices.DeleteFunc(r.notice, func(old *player) bool { return old.ended }), p)
	r.s.studio.mu.Unlock()
}

// tell fires what happens in the room; m is whom it is about, nil for the room itself.
func (r *conference) tell(m *member, action string, more ...header) {
	e := r.s.custom(maintenance)
	r.mu.Lock()
	e.add("Conference-Name", r.name).add("Conference-Size", strconv.Itoa(len(r.members))).add("Conference-Ghosts", "0").
		add("Conference-Profile-Name", r.profile).add("Conference-Unique-ID", r.uuid)
	r.mu.Unlock()
	if m != nil {
		m.describe(e)
	}
	e.add("Action", action)
	e.headers = append(e.headers, more...)
	r.s.fire(e)
}

func (m *member) describe(e *event) {
	m.c.describe(e)
	m.room.s.studio.mu.Lock()
	muted, deaf := m.muted, m.deaf
	m.room.s.studio.mu.Unlock()
	kind := "member"
	if m.moderator {
		kind = "moderator"
	}
	e.add("Floor", "false").add("Video", "false").add("Hear", fmt.Sprint(!deaf)).add("See", "false").add("Speak", fmt.Sprint(!muted)).
		add("Talking", "false").add("Mute-Detect", "false").add("Hold", "false").add("Member-ID", strconv.Itoa(m.id)).
		add("Member-Type", kind).add("Member-Ghost", "false").add("Energy-Level", "100").add("Current-Energy", "0")
}
