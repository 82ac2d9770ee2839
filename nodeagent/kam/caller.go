package kam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Caller is the caller's side of a call that is up, as Kamailio's dialog has it.
type Caller struct {
	Entry, ID int64  // of the dialog
	CallID    string // of the call
	Tag       string // the caller's
	Trunk     bool   // he is a trunk

	from, to, otherTag, otherCSeq string // of the dialog; to and otherTag are the called one's
	contact, routes, socket       string
}

// dialogSides is what is read of one dialog of dlg.dlg_list for its sides.
type dialogSides struct {
	Entry  int64  `json:"h_entry"`
	ID     int64  `json:"h_id"`
	State  int    `json:"state"`
	From   string `json:"from_uri"`
	To     string `json:"to_uri"`
	Caller struct {
		Tag     string `json:"tag"`
		Contact string `json:"contact"`
		Routes  string `json:"route_set"`
		Socket  string `json:"socket"`
	} `json:"caller"`
	Callee struct {
		Tag  string `json:"tag"`
		CSeq string `json:"cseq"`
	} `json:"callee"`
	Variables []map[string]string `json:"variables"`
}

func (d *dialogSides) variable(name string) string {
	for _, v := range d.Variables {
		if value, ok := v[name]; ok {
			return value
		}
	}
	return ""
}

// Caller returns the caller's side of the call of a token. Not ok: there is no such call, it is not acknowledged, or its caller is the media
// server.
func (c *Client) Caller(ctx context.Context, callID, token string) (caller Caller, ok bool, err error) {
	var found json.RawMessage
	if err := c.Call(ctx, "dlg.dlg_list", []any{callID}, &found); err != nil {
		return caller, false, err
	}
	if isEmpty(found) {
		return caller, false, nil
	}
	list := make([]dialogSides, 1)
	if found[0] == '[' {
		err = json.Unmarshal(found, &list)
	} else {
		err = json.Unmarshal(found, &list[0])
	}
	if err != nil {
		return caller, false, fmt.Errorf("dlg.dlg_list: %w", err)
	}
	for _, d := range list {
		call, err := url.ParseQuery(d.variable("call"))
		if err != nil || call.Get("token") != token || d.State != stateConfirmed || d.variable("leg") != "" {
			continue
		}
		return Caller{Entry: d.Entry, ID: d.ID, CallID: callID, Tag: d.Caller.Tag, Trunk: d.variable("from_trunk") == "1", from: d.From, to: d.To,
			otherTag: d.Callee.Tag, otherCSeq: d.Callee.CSeq, contact: d.Caller.Contact, routes: d.Caller.Routes, socket: d.Caller.Socket}, true, nil
	}
	return caller, false, nil
}

// EndCall ends one dialog: Kamailio sends a BYE to both ends.
func (c *Client) EndCall(ctx context.Context, d Caller) error {
	return c.Call(ctx, "dlg.end_dlg", []any{d.Entry, d.ID, endReason}, nil)
}

// AskCaller sends OPTIONS inside the call to its caller and returns the code of his answer; ErrNoAnswer when none comes before ctx ends, or
// Kamailio cannot send to him. Its number is below all that the called one has sent, so that nothing is counted on: the caller may refuse
// it for that (500, RFC 3261 section 12.2.2), which is an answer. One is 0 when that one has sent nothing yet.
func (u *UAC) AskCaller(ctx context.Context, c Caller) (code int, err error) {
	target, hop, err := place(c.contact)
	if err != nil {
		return 0, err
	}
	routes := ""
	if c.routes != "" {
		routes = "Route: " + c.routes + "\r\n"
		first, _, _ := strings.Cut(strings.TrimPrefix(c.routes, "<"), ">")
		hop = first
	}
	number := uint64(0)
	if n, err := strconv.ParseUint(c.otherCSeq, 10, 31); err == nil && n > 0 {
		number = n - 1
	}
	headers := fmt.Sprintf("From: <%s>;tag=%s\r\nTo: <%s>;tag=%s\r\nCall-ID: %s\r\nCSeq: %d OPTIONS\r\n%sMax-Forwards: 70\r\n", c.to, c.otherTag, c.from, c.Tag, c.CallID, number, routes)
	if strings.Contains(headers, "!!") || strings.Contains(headers, "\r\n\r\n") {
		return 0, errors.New("headers: Kamailio would take them for others")
	}
	key := c.CallID + " " + strconv.FormatUint(number, 10)
	answer, err := u.expect(key)
	if err != nil {
		return 0, err
	}
	defer u.forget(key)
	if err := u.client.Call(ctx, "tm.t_uac_start", []any{"OPTIONS", target, orDot(hop), orDot(c.socket), headers, ""}, nil); err != nil {
		if _, refused := errors.AsType[*Error](err); refused {
			return 0, fmt.Errorf("%w: %w", ErrNoAnswer, err)
		}
		return 0, err
	}
	select {
	case got := <-answer:
		return got.Code, nil
	case <-ctx.Done():
		return 0, ErrNoAnswer
	}
}

// transports are Kamailio's numbers of them in an alias.
var transports = map[string]string{"1": "udp", "2": "tcp", "3": "tls", "5": "ws", "6": "ws"}

// place splits a Contact that names where its phone really is (nathelper's alias=ADDRESS~PORT~TRANSPORT) into the phone's own URI and that place; hop is ""
// for one that does not.
func place(contact string) (uri, hop string, err error) {
	if !uriWord.MatchString(contact) {
		return "", "", fmt.Errorf("contact %.80q: no SIP URI", contact)
	}
	before, rest, ok := strings.Cut(contact, ";alias=")
	if !ok {
		return contact, "", nil
	}
	alias, after, _ := strings.Cut(rest, ";")
	if after != "" {
		before += ";" + after
	}
	parts := strings.Split(alias, "~")
	if len(parts) != 3 || transports[parts[2]] == "" {
		return "", "", fmt.Errorf("contact %.80q: no alias of Kamailio's", contact)
	}
	return before, "sip:" + net.JoinHostPort(strings.Trim(parts[0], "[]"), parts[1]) + ";transport=" + transports[parts[2]], nil
}
