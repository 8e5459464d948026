package graft

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/graft-ml/graft/internal/augment"
	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/train"
)

// A Schedule says how the learning rate changes from step to step, with the definitions of
// torch.optim.lr_scheduler. Lengths are in epochs and may be fractions. The zero value keeps the rate.
type Schedule = train.Schedule

// TrainOptions say how to train; zero fields mean the defaults. Names and definitions are PyTorch's.
type TrainOptions struct {
	Epochs    int     `json:"epochs"`       // default 5
	BatchSize int     `json:"batch_size"`   // default 32
	LR        float64 `json:"lr,omitempty"` // learning rate, of a schedule the highest; default 0.001
	Seed      uint64  `json:"seed"`         // of new layers' values, the order of photos, dropout and augmentation: torch.manual_seed's

	// Solver "lbfgs" doesn't train by steps: it computes the head's optimum, with an L2 penalty whose
	// strength cross-validation chooses. It takes a network that is frozen but for its last Linear layer.
	Solver string `json:"solver,omitempty"`

	Optimizer   string   `json:"optimizer,omitempty"`    // "adam" (the default), "adamw" or "sgd", as in torch.optim
	WeightDecay float64  `json:"weight_decay,omitempty"` // spares norms and biases
	Momentum    float64  `json:"momentum,omitempty"`     // of sgd
	Nesterov    bool     `json:"nesterov,omitempty"`     // of sgd
	Schedule    Schedule `json:"schedule,omitzero"`
	// LRMult is the learning rate of the network's first stage, as a multiple of the head's; stages between
	// have rates between, in equal ratios. 0 means 1.
	LRMult float64 `json:"lr_mult,omitempty"`

	LabelSmoothing float64 `json:"label_smoothing,omitempty"`
	Balance        bool    `json:"balance,omitempty"`    // classes of few photos count as much as those of many
	ClipNorm       float64 `json:"clip_norm,omitempty"`  // the largest norm of all gradients together; 0 for any
	Accumulate     int     `json:"accumulate,omitempty"` // batches to a step; default 1
	EMA            float64 `json:"ema,omitempty"`        // decay of the average of the weights that is tested and kept; 0 for none
	Monitor        string  `json:"monitor,omitempty"`    // what makes an epoch the best: "loss" (the default) or "acc", of the test photos
	Patience       int     `json:"patience,omitempty"`   // stop after so many epochs without a better one; 0 for never
	// Norms says which batch norms use the batch's statistics, and update by them: by default those that
	// aren't frozen; "train" means all, as after PyTorch's model.train(), and "eval" none.
	Norms string `json:"norms,omitempty"`

	// Augment lists changes to the training photos, in torchvision's names ("RandomResizedCrop(scale=0.35:1),
	// RandomHorizontalFlip"), or a preset: light, trivial, rand.
	Augment string `json:"augment,omitempty"`
	// Views makes so many augmented views of each photo once, and lets epochs take turns with them, so that
	// the frozen part isn't computed anew each epoch. 0 means new ones each epoch.
	Views int `json:"views,omitempty"`

	Cache  bool `json:"-"` // keep the features of photos on disk, for other runs with the same trunk
	Strict bool `json:"-"` // stop at a photo that can't be decoded instead of going on without it

	// State is a folder for all that is needed to go on after training was stopped, whatever stopped it,
	// and for TensorBoard's event files; "" for none. Resume goes on from it, to the same bits as if
	// nothing had happened; where there is nothing yet, training starts.
	State  string `json:"-"`
	Resume bool   `json:"-"`

	Progress Progress    `json:"-"` // is told while features are computed
	Epoch    func(Epoch) `json:"-"` // is called after each epoch

	part   string // of several that make a run, and how many epochs were before it
	before int
}

// complete fills in the defaults and checks the values.
func (o *TrainOptions) complete() error {
	o.Epochs = cmp.Or(o.Epochs, 5)
	o.BatchSize = cmp.Or(o.BatchSize, 32)
	if o.Solver == "" {
		o.LR = cmp.Or(o.LR, 0.001)
	}
	switch {
	case o.Epochs < 0:
		return fmt.Errorf("%d epochs: there must be at least one", o.Epochs)
	case o.BatchSize < 0:
		return fmt.Errorf("batch size %d: it must be at least 1", o.BatchSize)
	case o.Solver == "" && !(o.LR > 0) || math.IsInf(o.LR, 0):
		return fmt.Errorf("learning rate %g: it must be above 0", o.LR)
	case !(o.LRMult >= 0 && o.LRMult <= 1):
		return fmt.Errorf("learning rate multiple %g: it must be above 0 and at most 1, or 0 for the same rate everywhere", o.LRMult)
	case o.Views < 0:
		return fmt.Errorf("%d views: there must be at least one, or 0 for new ones each epoch", o.Views)
	case o.Solver != "" && o.Solver != "lbfgs":
		return fmt.Errorf("there is no solver %q: it is lbfgs, or none to train by steps", o.Solver)
	case !slices.Contains([]nn.NormMode{nn.NormsAuto, nn.NormsTrain, nn.NormsEval}, nn.NormMode(o.Norms)):
		return fmt.Errorf("there is no mode %q of norms: it is train, eval, or nothing for those that aren't frozen", o.Norms)
	case o.Resume && o.State == "":
		return errors.New("resuming needs the folder of the training's state")
	}
	if list, err := augment.Parse(o.Augment); err != nil {
		return err
	} else if o.Views > 0 && len(list) == 0 {
		return fmt.Errorf("%d views are of augmented photos: say how to augment them", o.Views)
	}
	if name := o.solverIgnores(); o.Solver != "" && name != "" {
		return fmt.Errorf("the solver %s makes no steps, so that %s has no meaning: leave it out", o.Solver, name)
	} else if o.Solver != "" {
		o.Optimizer = ""
		return nil
	}
	o.Optimizer = cmp.Or(o.Optimizer, "adam")
	switch s := o.Schedule; {
	case o.Optimizer != "sgd" && (o.Momentum != 0 || o.Nesterov):
		return fmt.Errorf("momentum is of the optimizer sgd, and it is %s: choose sgd, or leave it out", o.Optimizer)
	case s.Warmup >= float64(o.Epochs):
		return fmt.Errorf("%g epochs of warm-up: that is all of the training, which has %d", s.Warmup, o.Epochs)
	case s.Name != "step" && (s.StepSize != 0 || s.Gamma != 0):
		return fmt.Errorf("step size and gamma are of the schedule step, and it is %s: choose step, or leave them out", cmp.Or(s.Name, "constant"))
	}
	return nil
}

// config is what training by steps needs of the options, whatever the model and the photos.
func (o *TrainOptions) config(classes int) train.Config {
	return train.Config{
		Epochs: o.Epochs, BatchSize: o.BatchSize, Classes: classes,
		Optimizer: train.OptimizerConfig{Name: o.Optimizer, LR: o.LR, WeightDecay: o.WeightDecay, SpareVectors: true,
			Momentum: o.Momentum, Nesterov: o.Nesterov},
		Schedule: o.Schedule,
		Loss:     train.CrossEntropy{LabelSmoothing: o.LabelSmoothing},
		ClipNorm: o.ClipNorm, Accumulate: o.Accumulate, EMA: o.EMA, Monitor: o.Monitor, Patience: o.Patience,
	}
}

// solverIgnores returns an option that is set and is of training by steps alone.
func (o *TrainOptions) solverIgnores() string {
	for _, option := range []struct {
		set  bool
		name string
	}{
		{o.LR != 0, "a learning rate"}, {o.Optimizer != "" && o.Optimizer != "adam", "the optimizer " + o.Optimizer}, {o.WeightDecay != 0, "weight decay"},
		{o.Momentum != 0, "momentum"}, {o.Nesterov, "Nesterov's momentum"}, {o.Schedule != Schedule{}, "a schedule"},
		{o.LRMult != 0, "the learning rate's multiple"}, {o.LabelSmoothing != 0, "label smoothing"}, {o.Balance, "balance"},
		{o.ClipNorm != 0, "the gradients' norm"}, {o.Accumulate > 1, "accumulating batches"}, {o.EMA != 0, "an average of the weights"},
		{o.Monitor != "", "what is monitored"}, {o.Patience != 0, "patience"}, {o.Norms != "", "the norms' mode"},
	} {
		if option.set {
			return option.name
		}
	}
	return ""
}

// rateScales gives each parameter its learning rate as a multiple of the head's: the first stage's is
// first, and the others lie between in equal ratios.
func rateScales(network *models.Network, first float64) map[*graph.Param]float64 {
	scales := map[*graph.Param]float64{}
	for _, p := range network.Params() {
		scales[p] = 1
	}
	stages := network.Stages()
	for i, s := range stages {
		for _, p := range s.Params {
			scales[p] = math.Pow(first, 1-float64(i)/float64(len(stages)))
		}
	}
	return scales
}

// Arguments are what a model was trained with; they travel in its file.
type Arguments struct {
	Data string `json:"data"`
	TrainOptions
	HeadEpochs int    `json:"head_epochs,omitempty"` // of fine-tuning, before Epochs
	Trainable  int    `json:"trainable_parameters"`
	Frozen     int    `json:"frozen_parameters"`
	Train      int    `json:"train_photos"`
	Test       int    `json:"test_photos"`
	Kernels    string `json:"kernels"`
	Precision  string `json:"precision"` // of what doesn't train
	Version    string `json:"version"`
}
