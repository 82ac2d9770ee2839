package fsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const version = "1.11.1-fsim"

const (
	noChannel  = "-ERR No such channel!\n"
	noSession  = "-ERR Cannot locate session!\n"
	anySuccess = "+OK Success\n"
)

// command executes one api command and returns what it prints.
func (s *Server) command(line string) string {
	name, args, _ := strings.Cut(line, " ")
	if do := globalCommands[name]; do != nil {
		return do(s, strings.TrimSpace(args))
	}
	if do := channelCommands[name]; do != nil {
		return do(s, strings.TrimSpace(args))
	}
	return "-ERR " + name + " Command not found!\n"
}

// globalCommands are those about the process, by name.
var globalCommands map[string]func(s *Server, args string) string

func init() {
	globalCommands = map[string]func(s *Server, args string) string{
		"status":   (*Server).status,
		"version":  func(*Server, string) string { return "FreeSWITCH Version " + version + " (fsim 64bit)\n" },
		"uptime":   func(s *Server, _ string) string { return strconv.Itoa(int(time.Since(s.started).Seconds())) + "\n" },
		"hostname": func(s *Server, _ string) string { return s.opt.Hostname },
		"echo":     func(_ *Server, args string) string { return args },
		"create_uuid": func(*Server, string) string {
			return newUUID()
		},
		"strepoch":      func(*Server, string) string { return strconv.FormatInt(time.Now().Unix(), 10) },
		"msleep":        (*Server).msleep,
		"reloadxml":     func(*Server, string) string { return "+OK [Success]\n" },
		"global_getvar": func(s *Server, name string) string { return s.globals()[name] },
		"eval": func(s *Server, text string) string {
			return expand(text, func(n string) string { return s.globals()[n] })
		},
		"log":          func(*Server, string) string { return "+OK\n" },
		"show":         (*Server).show,
		"fsctl":        (*Server).fsctl,
		"hupall":       (*Server).hupall,
		"originate":    (*Server).apiOriginate,
		"sofia":        (*Server).sofia,
		"conference":   (*Server).apiConference,
		"local_stream": (*Server).localStream,
		"sched_hangup": (*Server).apiSchedHangup,
		"sched_del":    (*Server).schedDel,
	}
}

func (s *Server) status(string) string {
	up := time.Since(s.started)
	s.mu.Lock()
	now, peak := len(s.order), s.peak
	s.mu.Unlock()
	state := "ready"
	if s.paused.Load() {
		state = "paused"
	}
	return fmt.Sprintf("UP 0 years, 0 days, %d hours, %d minutes, %d seconds, %d milliseconds, 0 microseconds\nFreeSWITCH (Version %s) is %s\n"+
		"%d session(s) since startup\n%d session(s) - peak %d, last 5min %d \n0 session(s) per Sec out of max 100, peak 0, last 5min 0 \n"+
		"2000 session(s) max\nmin idle cpu 0.00/90.00\nCurrent Stack Size/Max 240K/240K\n",
		int(up.Hours()), int(up.Minutes())%60, int(up.Seconds())%60, up.Milliseconds()%1000, version, state, s.sessions.Load(), now, peak, peak)
}

func (s *Server) msleep(args string) string {
	ms := min(number(args), 60_000)
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-s.ctx.Done():
	}
	return "+OK"
}

// row is one channel of `show channels as json`.
type row struct {
	UUID      string `json:"uuid"`
	Direction string `json:"direction"`
	Created   string `json:"created"`
	Epoch     string `json:"created_epoch"`
	Name      string `json:"name"`
	State     string `json:"state"`
	CIDName   string `json:"cid_name"`
	CIDNum    string `json:"cid_num"`
	IP        string `json:"ip_addr"`
	Dest      string `json:"dest"`
	App       string `json:"application"`
	Data      string `json:"application_data"`
	Dialplan  string `json:"dialplan"`
	Context   string `json:"context"`
	Codec     string `json:"read_codec"`
	ReadRate  string `json:"read_rate"`
	WCodec    string `json:"write_codec"`
	WRate     string `json:"write_rate"`
	Hostname  string `json:"hostname"`
	CallState string `json:"callstate"`
	CallUUID  string `json:"call_uuid"`
	Initial   string `json:"initial_dest"`
}

func (c *channel) row() row {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.profile
	r := row{UUID: c.id, Direction: c.direction(), Created: c.created.Format("2006-01-02 15:04:05"), Epoch: strconv.FormatInt(c.created.Unix(), 10),
		Name: p.channelName, State: c.state, CIDName: p.name, CIDNum: p.number, IP: p.networkAddr, Dest: p.destination, Dialplan: p.dialplan,
		Context: p.context, Codec: c.vars.get("read_codec"), ReadRate: c.vars.get("read_rate"), WCodec: c.vars.get("write_codec"),
		WRate: c.vars.get("write_rate"), Hostname: c.s.opt.Hostname, CallState: c.callState, Initial: p.destination}
	if c.partner != nil {
		r.CallUUID = c.callUUID()
	}
	if n := len(c.execs); n > 0 {
		r.App, r.Data = c.execs[n-1].app, c.execs[n-1].data
	}
	return r
}

// show is `show channels|calls [count] [as json]`.
func (s *Server) show(args string) string {
	f := strings.Fields(args)
	if len(f) == 0 {
		return "-USAGE: codec|endpoint|application|api|dialplan|file|timer|calls [count]|channels [count|like <match string>]|distinct_channels|aliases|complete|chat|management|modules|nat_map|say|interfaces|interface_types|tasks|limits|status\n"
	}
	var rows []row
	switch f[0] {
	case "channels":
		for _, c := range s.all() {
			rows = append(rows, c.row())
		}
	case "calls":
		for _, c := range s.all() {
			c.mu.Lock()
			joined := c.partner != nil && !c.inbound
			c.mu.Unlock()
			if c.inbound || !joined {
				rows = append(rows, c.row())
			}
		}
	default:
		return "-ERR show " + f[0] + " is not known here\n"
	}
	switch {
	case strings.HasSuffix(args, "as json") && len(rows) == 0:
		return `{"row_count":0}`
	case strings.HasSuffix(args, "as json"):
		text, err := json.Marshal(struct {
			Count int   `json:"row_count"`
			Rows  []row `json:"rows"`
		}{len(rows), rows})
		if err != nil {
			return "-ERR " + err.Error() + "\n"
		}
		return string(text)
	}
	var b strings.Builder
	if len(f) < 2 || f[1] != "count" {
		for _, r := range rows {
			fmt.Fprintf(&b, "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n", r.UUID, r.Direction, r.Created, r.Epoch, r.Name, r.State, r.CIDName, r.CIDNum, r.IP, r.Dest)
		}
	}
	fmt.Fprintf(&b, "\n%d total.\n", len(rows))
	return b.String()
}

func (s *Server) fsctl(args string) string {
	f := strings.Fields(args)
	if len(f) == 0 {
		return "-USAGE: [hupall|pause|resume|shutdown]\n"
	}
	switch f[0] {
	case "pause":
		s.paused.Store(true)
	case "resume":
		s.paused.Store(false)
	case "hupall":
		return s.hupall(strings.Join(f[1:], " "))
	case "shutdown":
		go func() {
			ctx, stop := context.WithTimeout(context.WithoutCancel(s.ctx), 6*time.Second)
			defer stop()
			if err := s.Shutdown(ctx); err != nil {
				s.log.Warn("shutdown", "error", err)
			}
		}()
	default:
		return "-ERR fsctl " + f[0] + " is not known here\n"
	}
	return "+OK\n"
}

func (s *Server) hupall(args string) string {
	why := "MANAGER_REQUEST"
	if f := strings.Fields(args); len(f) > 0 {
		why = causeNamed(f[0]).name
	}
	for _, c := range s.all() {
		c.end(why, false)
	}
	return "+OK hangup all channels with cause " + why + "\n"
}

// apiOriginate makes a leg and gives it an application (&park) or an extension. It returns when it is answered.
func (s *Server) apiOriginate(args string) string {
	list := splitOutside(strings.TrimSpace(args), ' ')
	if len(list) < 2 {
		return "-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] [<cid_name>] [<cid_num>] [<timeout_sec>]\n"
	}
	dial := list[0]
	if len(list) > 6 {
		dial = "{originate_timeout=" + list[6] + "}" + dial
	}
	c, why := s.originate(dial)
	if c == nil {
		return "-ERR " + why + "\n"
	}
	then := unquote(strings.Join(list[1:], " ")) // '&socket(host:port async full)': an argument with spaces stands in quotes
	c.divert(func() {
		app, ok := strings.CutPrefix(then, "&")
		if !ok {
			c.transfer(then)
			return
		}
		name, arg, _ := strings.Cut(app, "(")
		c.actions([]Action{{strings.TrimSpace(name), strings.TrimSuffix(strings.TrimSpace(arg), ")")}})
	})
	return "+OK " + c.id + "\n"
}

func (s *Server) sofia(args string) string {
	p := s.opt.Profile
	switch f := strings.Fields(args); {
	case len(f) >= 1 && f[0] == "status" && len(f) > 2 && f[2] != p:
		return "Invalid Profile!\n"
	case len(f) > 2 && f[0] == "status":
		return fmt.Sprintf("%s\nName             \t%s\nContext          \tsipio\nRTP-IP           \t%s\nSIP-IP           \t%s\nURL              \tsip:sipio@%s\nTEL-EVENT        \t101\nDTMF-MODE        \trfc2833\n",
			strings.Repeat("=", 97), p, s.opt.RTPIP, s.sipAddr.IP, s.SIP)
	case len(f) > 0 && f[0] == "status":
		return fmt.Sprintf("%s\n%25s\tprofile\tsip:sipio@%s\tRUNNING (%d)\n1 profile 0 aliases\n", strings.Repeat("=", 97), p, s.SIP, len(s.all()))
	case len(f) > 0 && f[0] == "xmlstatus":
		return "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<profiles>\n<profile>\n<name>" + p + "</name>\n<type>profile</type>\n<data>sip:sipio@" + s.SIP +
			"</data>\n<state>RUNNING (0)</state>\n</profile>\n</profiles>\n"
	case len(f) > 1 && f[0] == "profile":
		return "+OK\n"
	}
	return "-USAGE: sofia <status|xmlstatus|profile>\n"
}

func (s *Server) localStream(args string) string {
	f := strings.Fields(args)
	if len(f) == 0 {
		return "-USAGE: <show|start|reload|stop|hup|vol> <local_stream_name>\n"
	}
	name := ""
	if len(f) > 1 {
		name = f[1]
	}
	var err error
	switch {
	case f[0] == "show":
		return s.streams.show()
	case f[0] == "start" && name != "":
		if err = s.streams.start(name); err == nil {
			return "+OK stream: " + name
		}
	case f[0] == "reload" && name != "":
		if err = s.streams.reload(name); err == nil {
			return "+OK"
		}
	case f[0] == "stop" && name != "":
		if s.streams.halt(name) {
			return "+OK"
		}
		err = errNoSound
	default:
		return "-USAGE: <show|start|reload|stop|hup|vol> <local_stream_name>\n"
	}
	if !errors.Is(err, errNoSound) {
		s.log.Warn("local_stream", "name", name, "error", err)
	}
	return "-ERR Cannot locate local_stream " + name + "!\n"
}

func (s *Server) apiSchedHangup(args string) string {
	f := words(args, 3)
	if len(f) < 2 {
		return "-USAGE: [+]<time> <uuid> [<cause>]\n"
	}
	c := s.channel(f[1])
	if c == nil {
		return noChannel
	}
	c.schedHangup(strings.Join(append(f[:1], f[2:]...), " "))
	return "+OK\n"
}

func (s *Server) schedDel(args string) string {
	n := 0
	if c := s.channel(args); c != nil {
		n = c.unschedule()
	}
	return fmt.Sprintf("+OK Deleted: %d\n", n)
}
