package flow

import "testing"

func TestState_LeadsSaysWhichOutcomesTheGraphTakes(t *testing.T) {
	// Proves that only an edge of the very outcome counts, in the step that the call is in, and that a flow which is gone or over leads
	// nowhere.
	g, faults := Compile(draw([]string{`in {"kind": "entry"}`, `q {"kind": "enqueue", "queueId": "q"}`, `p {"kind": "say", "text": "x"}`},
		[]string{"in - q", "q - p", "q option:1 p", "q no_agents p"}))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	stage := &Stage{Flows: map[string]*Graph{"main": g}}
	s, out := Start(stage, "main", nil, scriptStart)
	if out.App == nil || out.App.Target.ID != "q" {
		t.Fatalf("it wants %+v", out)
	}
	for outcome, want := range map[string]bool{"option:1": true, "no_agents": true, "option:2": false, "timeout": false, "": true} {
		if got := s.Leads(stage, outcome); got != want {
			t.Errorf("%q leads on: %v", outcome, got)
		}
	}
	s.Step(stage, Input{Outcome: "option:1"}, scriptStart)
	if s.Leads(stage, "option:1") || s.Leads(&Stage{}, "") || (&State{}).Leads(stage, "") {
		t.Error("a step without the edge, a flow that is gone or one that is over leads on")
	}
}
