package contract

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/test/edge"
)

// answeredKinds is a document of every kind that calls need which the platform answers. The trunk is disabled
// because no Kamailio is there to be told of its addresses.
const answeredKinds = `- {kind: account, name: acme, spec: {did_default_dest_kind: flow, did_default_dest_id: main, voice_gender: female}}
- {kind: time_schedule, account: acme, name: office, spec: {timezone: Europe/Berlin, rules: [{kind: weekly, dow: 1, start_time: "09:00", end_time: "17:00"}, {kind: date, start_date: 2026-12-25, is_closed: true}]}}
- {kind: media_file, account: acme, name: hello, spec: {kind: greeting, text: "Hello <&> \"there\""}}
- {kind: media_playlist, account: acme, name: songs, spec: {media_ids: [hello]}}
- {kind: voicemail, account: acme, name: box, spec: {greeting_media_id: hello, notify_email: a@acme.test}}
- {kind: conference, account: acme, name: room, spec: {max_members: 5}}
- {kind: queue, account: acme, name: support, spec: {max_queued: 5, no_agents_dest_kind: voicemail, no_agents_dest_id: box, moh_playlist_id: songs}}
- {kind: agent_queue_assignment, account: acme, name: support/1001, spec: {tier_level: 2}}
- {kind: in_queue_option, account: acme, name: "support/*", spec: {action: route, dest_kind: conference, dest_id: room}}
- {kind: extension, account: acme, name: "*45", spec: {dest_kind: queue, dest_xform: {action: agent_login}}}
- {kind: sip_user, account: acme, name: "1001", spec: {is_agent: true, skills: {french: 3}, voicemail_id: box, record_policy: all, fwd_noanswer_dest_kind: voicemail, fwd_noanswer_dest_id: box}}
- {kind: ring_group, account: acme, name: sales, spec: {members: [{user_id: "1001"}], schedule_id: office, overflow_dest_kind: conference, overflow_dest_id: room}}
- {kind: extension, account: acme, name: "*98", spec: {dest_kind: voicemail, dest_xform: {action: retrieve}}}
- {kind: did, account: acme, name: "493012345", spec: {schedule_id: office, closed_dest_kind: voicemail, closed_dest_id: box, holiday_dest_kind: hangup}}
- {kind: sip_trunk, account: acme, name: carrier, spec: {status: disabled, inbound_acl: [192.0.2.0/24, "2001:db8::1"]}}
- kind: call_flow
  account: acme
  name: main
  spec:
    graph:
      start: in
      nodes:
        - {id: in, position: {x: 1, y: -2.5}, data: {kind: entry}}
        - {id: hours, data: {kind: timeCondition, scheduleId: office}}
        - {id: ring, data: {kind: ringGroup, ringGroupId: sales}}
        - {id: box, data: {kind: voicemail, mailboxId: box}}
        - {id: wait, data: {kind: enqueue, queueId: support}}
      edges:
        - {source: in, target: hours}
        - {source: hours, target: ring, sourceHandle: in_hours}
        - {source: hours, target: box}
        - {source: ring, target: wait}
        - {source: wait, target: box}
`

// Proves with the real brain that a document of these kinds is applied, that what is exported names everything by
// name and, applied again with prune, changes nothing, that a graph with a mistake is refused by its path, and that
// nothing goes which the flow refers to.
func TestApply_WhatIsAnsweredIsExportedAsItWasApplied(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{})
	a := newAsker(t, e.BrainURL, e.AdminKey)
	a.want(200, "POST", "/v1/apply", "application/yaml", answeredKinds)
	doc := string(a.get(200, "/v1/export").body)
	for _, part := range []string{"ringGroupId: sales", "mailboxId: box", "did_default_dest_id: main", "position: {x: 1, y: -2.5}", `text: Hello <&> "there"`, "dest_xform: {action: retrieve}", "queueId: support", "name: support/1001", "max_queued: 5", "skills: {french: 3}"} {
		if !strings.Contains(doc, part) {
			t.Errorf("the export lacks %q:\n%s", part, doc)
		}
	}
	for _, again := range []string{doc, answeredKinds} {
		if r := a.want(200, "POST", "/v1/apply?prune=true", "application/yaml", again); strings.TrimSpace(string(r.body)) != `{"items":[]}` {
			t.Errorf("applied again: %s", r.body)
		}
	}
	bad := strings.Replace(answeredKinds, "scheduleId: office", "scheduleId: nobody", 1)
	if p := a.want(422, "POST", "/v1/apply", "application/yaml", bad).problem(); len(p.Errors) != 1 || !strings.HasSuffix(p.Errors[0].Path, "graph.nodes[1].data.scheduleId") {
		t.Errorf("a graph with an unknown schedule: %+v", p.Errors)
	}
	office := a.named("time_schedule", "", "name", "office")
	a.want(409, "DELETE", "/v1/time_schedules/"+office, "", "")
	a.want(409, "DELETE", "/v1/queues/"+a.named("queue", "", "name", "support"), "", "")
	noFaults(t, e)
}
