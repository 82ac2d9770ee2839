package fsim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// apiConference is `conference NAME COMMAND …`, `conference list` and `conference json_list`.
func (s *Server) apiConference(args string) string {
	f := strings.Fields(args)
	if len(f) == 0 {
		return "-ERR usage: conference NAME COMMAND\n"
	}
	if f[0] == "list" || f[0] == "json_list" {
		return s.allRooms(f[0] == "json_list")
	}
	s.mu.Lock()
	r := s.rooms[f[0]]
	s.mu.Unlock()
	if r == nil {
		return "-ERR Conference " + f[0] + " not found\n"
	}
	if len(f) < 2 {
		return "-ERR usage: conference NAME COMMAND\n"
	}
	switch f[1] {
	case "list":
		return r.list()
	case "json_list":
		return jsonRooms([]*conference{r})
	case "lock", "unlock":
		r.mu.Lock()
		r.locked = f[1] == "lock"
		r.mu.Unlock()
		r.tell(nil, f[1])
		return "+OK " + r.name + " " + f[1] + "ed\n"
	case "mute", "unmute", "deaf", "undeaf", "kick", "hup":
		return r.targets(f[1], f[2:])
	case "get":
		return r.parameter(f[2:])
	case "play":
		return r.play(f[2:])
	case "stop":
		r.s.studio.mu.Lock()
		r.player = nil
		r.s.studio.mu.Unlock()
		return "+OK stopped 1 files.\n"
	case "recording", "record", "norecord":
		return r.recording(f[1:])
	}
	return "-ERR Conference command '" + f[1] + "' not found.\n"
}

// parameter is `get count` and the few others that are read.
func (r *conference) parameter(f []string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(f) == 0:
		return "-ERR usage: get <parameter-name>\n"
	case f[0] == "count":
		return strconv.Itoa(len(r.members))
	case f[0] == "max_members":
		return strconv.Itoa(r.max)
	case f[0] == "rate":
		return "8000"
	case f[0] == "run_time":
		return strconv.Itoa(int(time.Since(r.created).Seconds()))
	case f[0] == "locked":
		return strconv.FormatBool(r.locked)
	}
	return ""
}

func (s *Server) allRooms(asJSON bool) string {
	s.mu.Lock()
	var rooms []*conference
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	slices.SortFunc(rooms, func(a, b *conference) int { return strings.Compare(a.name, b.name) })
	if asJSON {
		return jsonRooms(rooms)
	}
	if len(rooms) == 0 {
		return "+OK No active conferences.\n"
	}
	var b strings.Builder
	for _, r := range rooms {
		r.mu.Lock()
		n, locked := len(r.members), r.locked
		r.mu.Unlock()
		flags := "running|answered|dynamic"
		if locked {
			flags = "locked|" + flags
		}
		fmt.Fprintf(&b, "+OK Conference %s (%d members rate: 8000 flags: %s)\n%s", r.name, n, flags, r.list())
	}
	return b.String()
}

func (r *conference) seated() []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.members)
}

// list is one line a member: id;channel;uuid;name;number;flags;0;0;100.
func (r *conference) list() string {
	var b strings.Builder
	for _, m := range slices.Backward(r.seated()) {
		r.s.studio.mu.Lock()
		muted, deaf := m.muted, m.deaf
		r.s.studio.mu.Unlock()
		var flags []string
		for _, f := range []struct {
			on   bool
			name string
		}{{!deaf, "hear"}, {!muted, "speak"}, {m.moderator, "moderator"}} {
			if f.on {
				flags = append(flags, f.name)
			}
		}
		p := m.c.profile
		fmt.Fprintf(&b, "%d;%s;%s;%s;%s;%s;0;0;100\n", m.id, p.channelName, m.c.id, p.name, p.number, strings.Join(flags, "|"))
	}
	return b.String()
}

type jsonMember struct {
	Type   string          `json:"type"`
	ID     int             `json:"id"`
	Flags  map[string]bool `json:"flags"`
	UUID   string          `json:"uuid"`
	Name   string          `json:"caller_id_name"`
	Number string          `json:"caller_id_number"`
	Joined int64           `json:"join_time"`
	Talked int64           `json:"last_talking"`
	Energy int             `json:"energy"`
	In     int             `json:"volume_in"`
	Out    int             `json:"volume_out"`
	Output int             `json:"output-volume"`
	Input  int             `json:"input-volume"`
}

type jsonRecording struct {
	Type   string `json:"type"`
	Path   string `json:"record_path"`
	Joined int64  `json:"join_time"`
}

type jsonRoom struct {
	Name      string            `json:"conference_name"`
	Count     int               `json:"member_count"`
	Ghosts    int               `json:"ghost_count"`
	Rate      int               `json:"rate"`
	RunTime   int64             `json:"run_time"`
	UUID      string            `json:"conference_uuid"`
	Locked    bool              `json:"locked"`
	WaitMod   bool              `json:"wait_mod"`
	Running   bool              `json:"running"`
	Answered  bool              `json:"answered"`
	Dynamic   bool              `json:"dynamic"`
	Recording bool              `json:"recording"`
	Max       int               `json:"max_members,omitempty"`
	Variables map[string]string `json:"variables"`
	Members   []any             `json:"members"`
}

// jsonRooms is json_list as conference_jlist writes it, as far as it is read.
func jsonRooms(rooms []*conference) string {
	list := []jsonRoom{}
	for _, r := range rooms {
		members := r.seated()
		r.mu.Lock()
		j := jsonRoom{Name: r.name, Count: len(members), Rate: 8000, RunTime: int64(time.Since(r.created).Seconds()), UUID: r.uuid, Locked: r.locked,
			WaitMod: r.waitMod, Running: true, Answered: true, Dynamic: true, Recording: len(r.record) > 0, Max: r.max, Variables: map[string]string{}}
		for path := range r.record {
			j.Members = append(j.Members, jsonRecording{"recording_node", path, 0})
		}
		r.mu.Unlock()
		for _, m := range slices.Backward(members) {
			j.Members = append(j.Members, m.json())
		}
		list = append(list, j)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return "-ERR " + err.Error() + "\n"
	}
	return string(text)
}

func (m *member) json() jsonMember {
	m.room.s.studio.mu.Lock()
	defer m.room.s.studio.mu.Unlock()
	return jsonMember{Type: "caller", ID: m.id, UUID: m.c.id, Name: m.c.profile.name, Number: m.c.profile.number,
		Joined: int64(time.Since(m.joined).Seconds()), Energy: 100, Flags: map[string]bool{"can_hear": !m.deaf, "can_see": true,
			"can_speak": !m.muted, "hold": false, "mute_detect": false, "talking": false, "has_video": false, "video_bridge": false,
			"has_floor": false, "is_moderator": m.moderator, "end_conference": m.endconf, "pass_digits": false}}
}

// targets does something to one member, to all, to the last who came, or to those who are no moderators.
func (r *conference) targets(what string, args []string) string {
	if len(args) == 0 {
		return "-ERR usage: " + what + " <[member_id|all|last|non_moderator]>\n"
	}
	var b strings.Builder
	members := r.seated()
	count := 0
	for i, m := range members {
		hit := args[0] == "all" || args[0] == strconv.Itoa(m.id) || args[0] == "last" && i == len(members)-1 || args[0] == "non_moderator" && !m.moderator
		if !hit {
			continue
		}
		count++
		b.WriteString(r.target(what, m))
	}
	if count == 0 {
		return fmt.Sprintf("Non-Existant ID %s\n", args[0])
	}
	return b.String()
}

func (r *conference) target(what string, m *member) string {
	r.s.studio.mu.Lock()
	switch what {
	case "mute", "unmute":
		m.muted = what == "mute"
	case "deaf", "undeaf":
		m.deaf = what == "deaf"
	}
	r.s.studio.mu.Unlock()
	r.tell(m, what+"-member")
	switch what {
	case "kick", "hup":
		m.quit()
		if what == "kick" {
			return fmt.Sprintf("+OK kicked %d\n", m.id)
		}
	}
	return fmt.Sprintf("+OK %s %d\n", what, m.id)
}

// play plays a file to the room; the events tell its begin and its end.
func (r *conference) play(args []string) string {
	if len(args) == 0 {
		return "-ERR usage: play <file_path> [async|<member_id>]\n"
	}
	opened, err := r.s.openSound(args[0])
	if err != nil {
		return "-ERR (play) File: " + args[0] + " not found.\n"
	}
	p := newPlayer(opened)
	r.s.studio.mu.Lock()
	r.player = p
	r.s.studio.mu.Unlock()
	r.tell(nil, "play-file", header{"File", args[0]}, header{"Async", "false"})
	go func() {
		select {
		case <-p.done:
			r.tell(nil, "play-file-done", header{"File", args[0]})
		case <-r.s.ctx.Done():
		}
	}()
	return "+OK (play) Playing file " + args[0] + "\n"
}

// recording is record PATH, norecord PATH|all, recording start|stop|pause|resume|check PATH|all.
func (r *conference) recording(f []string) string {
	switch {
	case f[0] == "record" && len(f) > 1:
		return r.startRecord(f[1])
	case f[0] == "norecord" && len(f) > 1:
		return r.stopRecord(f[1])
	case f[0] == "recording" && len(f) > 2 && f[1] == "start":
		return r.startRecord(f[2])
	case f[0] == "recording" && len(f) > 1 && f[1] == "stop":
		return r.stopRecord(append(f, "all")[2])
	case f[0] == "recording" && len(f) > 2 && (f[1] == "pause" || f[1] == "resume"):
		r.mu.Lock()
		one := r.record[f[2]]
		r.mu.Unlock()
		if one == nil {
			return "-ERR " + f[2] + " is not recorded\n"
		}
		r.s.studio.mu.Lock()
		one.paused = f[1] == "pause"
		r.s.studio.mu.Unlock()
		r.tell(nil, f[1]+"-recording", header{"Path", f[2]})
		return "+OK " + f[1] + " recording file " + f[2] + "\n"
	}
	return "-ERR usage: recording [start|stop|check|pause|resume] [<filename>|all]\n"
}

func (r *conference) startRecord(path string) string {
	r.mu.Lock()
	already := r.record[path] != nil
	r.mu.Unlock()
	if already {
		return "-ERR file [" + path + "] is already being used for recording.\n"
	}
	one, err := newRecorder(within(r.s.opt.Records, path), false)
	if err != nil {
		return "-ERR Error opening file " + path + "\n"
	}
	one.write = false
	r.mu.Lock()
	r.record[path] = one
	r.mu.Unlock()
	r.s.studio.plant(&r.blank, one)
	r.tell(nil, "start-recording", header{"Path", path})
	return "+OK Record file " + path + "\n"
}

func (r *conference) stopRecord(path string) string {
	r.mu.Lock()
	var paths []string
	for p := range r.record {
		if p == path || path == "all" {
			paths = append(paths, p)
		}
	}
	found := map[string]*recorder{}
	for _, p := range paths {
		found[p] = r.record[p]
		delete(r.record, p)
	}
	r.mu.Unlock()
	for p, one := range found {
		r.s.studio.pull(&r.blank, one)
		samples, _, err := one.finish()
		if err != nil {
			r.s.log.Warn("record", "room", r.name, "error", err)
		}
		r.tell(nil, "stop-recording", header{"Path", p}, header{"Milliseconds-Elapsed", strconv.Itoa(samples / 8)})
	}
	switch len(found) {
	case 0:
		return "-ERR non-existant recording '" + path + "'\n"
	case 1:
		return "+OK Stopped recording 1 file\n"
	}
	return fmt.Sprintf("+OK Stopped recording %d files\n", len(found))
}
