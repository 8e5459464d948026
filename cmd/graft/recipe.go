package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/graft-ml/graft"
)

// recipe is how to train by steps.
type recipe struct {
	Optimizer   string  `help:"adam, adamw or sgd, as in torch.optim." default:"adam" enum:"adam,adamw,sgd" group:"recipe"`
	WeightDecay float64 `help:"Weight decay; norms and biases are spared." placeholder:"X" group:"recipe"`
	Momentum    float64 `help:"Of sgd." placeholder:"X" group:"recipe"`
	Nesterov    bool    `help:"Nesterov's momentum, of sgd." group:"recipe"`
	LRMult      float64 `help:"Learning rate of the network's first stage as a multiple of the head's." name:"lr-mult" placeholder:"X" group:"recipe"`

	LabelSmoothing float64 `help:"Share of each target that is divided among all classes." placeholder:"X" group:"recipe"`
	Balance        bool    `help:"Let classes of few photos count as much as those of many." group:"recipe"`
	ClipNorm       float64 `help:"Largest norm of all gradients together." placeholder:"X" group:"recipe"`
	Accumulate     int     `help:"Batches to a step." default:"1" group:"recipe"`
	BN             string  `help:"Batch norms that use the batch's statistics: auto (those that aren't frozen), train (all, as after PyTorch's model.train()) or eval (none)." name:"bn" default:"auto" enum:"auto,train,eval" group:"recipe"`

	Augment string `help:"Change the training photos: a preset (light, trivial, rand), or steps in torchvision's names, such as RandomResizedCrop(scale=0.35:1),RandomHorizontalFlip,ColorJitter(brightness=0.2)." placeholder:"LIST" group:"recipe"`
	Views   int    `help:"Make so many augmented views of each photo once, for the epochs to take turns with; 0 makes new ones each epoch." placeholder:"K" group:"recipe"`
}

// fill sets what the flags say.
func (r *recipe) fill(o *graft.TrainOptions) error {
	if r.Accumulate == 0 { // in the options, zero would mean the default
		return errors.New("steps of 0 batches: there must be at least one")
	}
	o.Optimizer, o.WeightDecay, o.Momentum, o.Nesterov = r.Optimizer, r.WeightDecay, r.Momentum, r.Nesterov
	o.LRMult, o.LabelSmoothing, o.Balance, o.ClipNorm = r.LRMult, r.LabelSmoothing, r.Balance, r.ClipNorm
	if r.Accumulate != 1 {
		o.Accumulate = r.Accumulate
	}
	if r.BN != "auto" {
		o.Norms = r.BN
	}
	o.Augment, o.Views = r.Augment, r.Views
	return nil
}

// course is how long to train by a recipe, at which rates, and which epoch counts.
type course struct {
	Epochs   int      `help:"Passes over the training photos." default:"5"`
	LR       *float64 `help:"Learning rate, of a schedule the highest; default 0.001, of finetune 0.002 for the head and half of it then." name:"lr" placeholder:"X"`
	Schedule string   `help:"How the learning rate changes: constant, step, cosine or onecycle." default:"" placeholder:"NAME" group:"recipe"`
	Warmup   float64  `help:"Epochs in which the learning rate rises first." placeholder:"EPOCHS" group:"recipe"`
	StepSize float64  `help:"Of the schedule step: epochs between two decays." placeholder:"EPOCHS" group:"recipe"`
	Gamma    float64  `help:"Of the schedule step: the factor of a decay; default 0.1." placeholder:"X" group:"recipe"`
	EMA      float64  `help:"Decay of an average of the weights, which is tested and kept." name:"ema" placeholder:"X" group:"recipe"`
	Patience int      `help:"Stop after so many epochs without a better one." placeholder:"EPOCHS" group:"recipe"`
	Monitor  string   `help:"What makes an epoch the best: loss or acc, of the test photos." default:"loss" enum:"loss,acc" group:"recipe"`
}

// fill sets what the flags say.
func (c *course) fill(o *graft.TrainOptions) error {
	switch { // in the options, zero would mean the default
	case c.Epochs == 0:
		return errors.New("0 epochs: there must be at least one")
	case c.LR != nil && *c.LR == 0:
		return errors.New("learning rate 0: it must be above 0")
	case c.LR != nil:
		o.LR = *c.LR
	}
	o.Epochs, o.EMA, o.Patience = c.Epochs, c.EMA, c.Patience
	o.Schedule = graft.Schedule{Name: c.Schedule, Warmup: c.Warmup, StepSize: c.StepSize, Gamma: c.Gamma}
	if c.Monitor != "loss" {
		o.Monitor = c.Monitor
	}
	return nil
}

// solving is another way to train than by steps.
type solving struct {
	Solver string `help:"lbfgs computes the optimum of the head, with a penalty that cross-validation chooses, instead of training by steps." placeholder:"NAME"`
}

func (s *solving) fill(o *graft.TrainOptions) error {
	o.Solver = s.Solver
	return nil
}

// stages and scope say what trains besides the head.
type stages struct {
	Last int `help:"Let the last N stages before the head train, too: blocks, layers or features, whichever the network is made of (see graft summary)." name:"unfreeze-last" placeholder:"N"`
}

type scope struct {
	stages `embed:""`
	Train  string `help:"all trains the whole network; head leaves a pretrained one frozen but for its head and what other flags unfreeze." default:"head" enum:"head,all"`
}

// network is which model to train, and what of it.
type network struct {
	Model    string   `help:"Pretrained model or weights (see graft models)." default:"efficientnet_b0" placeholder:"NAME"`
	Weights  string   `help:"Take the weights from a local checkpoint." type:"existingfile" placeholder:"FILE"`
	Size     int      `help:"Pixels a side of the photos that the network gets; 0 means the size it was trained with." placeholder:"N"`
	Dropout  float64  `help:"Probability of the Dropout before the new head; below 0 the network's own." default:"-1"`
	Freeze   []string `help:"Freeze modules or parameters, by path, with * and [0-9] as wildcards; features is the trunk of any network, which is frozen unless the network starts from nothing." placeholder:"PATTERN"`
	Unfreeze []string `help:"Let them train, after --freeze." placeholder:"PATTERN"`
	precision
}

// load finds the photos, and returns the model with a head for their classes; its trunk is frozen if it
// is pretrained.
func (n *network) load(e *env, t *training) (*graft.Dataset, *graft.Model, error) {
	data, err := t.open()
	if err != nil {
		return nil, nil, err
	}
	model, err := n.model(e, data)
	return data, model, err
}

func (n *network) model(e *env, data *graft.Dataset) (*graft.Model, error) {
	model, err := graft.LoadOrScratch(e, n.Model, data.Classes, &graft.LoadOptions{File: n.Weights, Progress: &progress{}})
	if err != nil {
		return nil, err
	}
	if model.Origin().Weights != "" {
		if err := model.ReplaceHead(data.Classes, n.Dropout); err != nil {
			return nil, err
		}
		model.FreezeTrunk()
	}
	if n.Size != 0 {
		if err := model.Resize(n.Size); err != nil {
			return nil, fmt.Errorf("--size %d: %w", n.Size, err)
		}
	}
	model.Threads, model.Precision = e.threads, n.Precision
	return model, nil
}

// freeze applies the flags that say what trains, and returns what --unfreeze-last comes to.
func (n *network) freeze(model *graft.Model, of scope) (last []string, err error) {
	if of.Train == "all" {
		err = model.Unfreeze("*")
	}
	if err := errors.Join(err, model.Freeze(n.Freeze...), model.Unfreeze(n.Unfreeze...)); err != nil || of.Last == 0 {
		return nil, err
	}
	if last, err = model.UnfreezeLast(of.Last); err != nil {
		return nil, fmt.Errorf("--unfreeze-last %d: %w", of.Last, err)
	}
	return last, nil
}

func printLast(stages []string) {
	if len(stages) > 0 {
		fmt.Println("Training, besides the head:", strings.Join(stages, ", "))
	}
}

// output is where a run goes, and how it goes on.
type output struct {
	Out    string `help:"Run folder to write; default runs/ and the data's name." type:"path" placeholder:"DIR"`
	Force  bool   `help:"Replace an existing run folder."`
	Resume bool   `help:"Go on with the run that the same command began, to the same result as if it hadn't been stopped."`
}

// check finds out before training whether the run can be written, and returns the folder for its state.
// There is nothing to do where the run that is to go on is complete.
func (o *output) check(t *training) (state string, done bool, err error) {
	if o.Out == "" {
		if o.Out, err = t.folder(""); err != nil {
			return "", false, err
		}
	}
	state = filepath.Clean(o.Out) + ".training"
	_, err = os.Stat(state)
	stopped := err == nil
	err = graft.CheckRunFolder(o.Out)
	exists := errors.Is(err, graft.ErrRunExists)
	switch {
	case err != nil && !exists:
		return "", false, err
	case o.Resume && (stopped || !exists || o.Force):
		return state, false, nil
	case o.Resume:
		fmt.Printf("%s is complete, so that there is nothing to go on with. --force trains it anew.\n", o.Out)
		return "", true, nil
	case o.Force:
		return state, false, os.RemoveAll(state)
	case stopped:
		return "", false, fmt.Errorf("%s is of a training that was stopped: --resume to go on with it, or --force to start over", state)
	case exists:
		return "", false, fmt.Errorf("%w: choose another --out, or --force to replace it", err)
	}
	return state, false, nil
}
