//! The options of `sail train` that decide its result, and the recipe that they stand for.

use std::path::PathBuf;

use clap::Args;
use sail_vl::core::{Check, Dtype};
use sail_vl::data::CaptionSampling;
use sail_vl::losses::{Blocks, Direction, LossConfig, Normalization};
use sail_vl::recipe::{HeadRecipe, ProjectorKind, ProjectorSettings, Recipe, StructureRecipe};
use sail_vl::train::{Interval, OptimizerConfig, ParameterGroup, Positives, Schedule, TrainConfig};

use crate::choices::{Loss, Optimizer};
use crate::error::CliError;
use crate::inputs::UnmatchedArgs;
use crate::lora_args::LoraArgs;
use crate::named::{named, named_or};
use crate::unpaired_args::UnpairedArgs;

/// Each option replaces one setting of the recipe, so none has a default of its own.
// Negative numbers are parsed as values, to be rejected with a message about the value.
#[derive(Args, Clone)]
#[command(allow_negative_numbers = true)]
pub(crate) struct RecipeArgs {
    /// Read the settings from a recipe, TOML or JSON, such as the `config.json` of a run; options override them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Image features: a store, FILE.safetensors or FILE.safetensors:TENSOR; several, separated by commas, are read as
    /// one.
    #[arg(long, value_name = "FEATURES")]
    images: Option<String>,
    /// Text features, paired with the images by key; several as above.
    #[arg(long, value_name = "FEATURES")]
    texts: Option<String>,
    /// More captions of the same images, as extra positives; repeat it for each set of captions. As above, a set can be
    /// several stores, separated by commas.
    #[arg(long, value_name = "FEATURES")]
    extra_texts: Vec<String>,
    #[command(flatten)]
    unmatched: UnmatchedArgs,
    /// Train on the pairs with these keys, such as those that `sail dedup` and `sail score` keep: a text file with a key in each
    /// line, JSON lines with a field `key`, or other features. The held-out pairs are those without this option.
    #[arg(long, value_name = "FILE")]
    keys: Option<String>,
    /// Captions of the first set that an epoch shows of an image: one at random, or all [default: random].
    #[arg(long, value_name = "SAMPLING", value_parser = named::<CaptionSampling>())]
    captions: Option<CaptionSampling>,
    /// Texts of a batch that are positives of an image: those of its pair, or all of the same image, which occurs several
    /// times with `--captions all` [default: pair].
    #[arg(long, value_name = "TEXTS", value_parser = named::<Positives>())]
    positives: Option<Positives>,
    /// How often an epoch shows the pairs of each source of `--images`, such as `1,0.5` for two.
    #[arg(long, value_name = "WEIGHTS", value_delimiter = ',')]
    source_weights: Vec<f64>,
    /// Mix the features of pairs with a coefficient from Beta(ALPHA, ALPHA) in every step, FuseMix; 1 in its paper
    /// [default: 0, off].
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// Number of pairs that are held out of training and evaluated [default: 0].
    #[arg(long, value_name = "ROWS")]
    holdout: Option<usize>,

    /// Projector on both sides; `sharelock` is an MLP on the text side, with image features as they are; `token` and
    /// `token-transformer` take a store of tokens of images, with an MLP on the text side [default: glu].
    #[arg(long, alias = "head", value_name = "KIND", value_parser = named::<ProjectorKind>())]
    projector: Option<ProjectorKind>,
    /// Hidden width of the projector as a multiple of the feature dimension [default: 8, or 4 for `mlp` and `residual-mlp`].
    #[arg(long)]
    width: Option<usize>,
    /// Number of blocks of `residual-mlp` and `token-transformer` [default: 4 and 2].
    #[arg(long, value_name = "BLOCKS")]
    depth: Option<usize>,
    /// Dropout probability of `residual-mlp` and `sharelock` [default: 0.6 and 0.2].
    #[arg(long, value_name = "PROBABILITY")]
    dropout: Option<f64>,
    /// Dimension of the shared embedding space [default: 1024].
    #[arg(long)]
    dim: Option<usize>,
    /// Start from a trained head instead of random weights.
    #[arg(long, value_name = "HEAD", conflicts_with_all = ["projector", "width", "depth", "dropout", "dim"])]
    warm_start: Option<PathBuf>,

    /// Loss function [default: sigmoid].
    #[arg(long, value_name = "KIND", value_parser = named::<Loss>())]
    loss: Option<Loss>,
    /// Divisor of the sigmoid loss: the number of pairs, B² (SAIL), or the batch size, B (SigLIP) [default: pair-count].
    #[arg(long, value_parser = named_or::<Normalization>(&[("pairs", "pair-count")]))]
    normalization: Option<Normalization>,
    /// Reduction of the sigmoid loss over the sets of captions [default: mean].
    #[arg(long, value_parser = named::<Blocks>())]
    blocks: Option<Blocks>,

    /// Keep the neighborhoods of the features: add the STRUCTURE regularizer with this weight, 1 level and temperature 0.05
    /// unless given.
    #[arg(long, value_name = "WEIGHT[:LEVELS[:TEMPERATURE]]")]
    structure: Option<StructureRecipe>,
    /// Keep how similar the patches of an image are to each other: add the Gram loss of dino.txt with this weight, for a
    /// projector on tokens.
    #[arg(long, value_name = "WEIGHT")]
    gram: Option<f64>,
    #[command(flatten)]
    unpaired: UnpairedArgs,
    #[command(flatten)]
    lora: LoraArgs,

    /// Batch size [default: 32768].
    #[arg(long, value_name = "ROWS")]
    batch: Option<usize>,
    /// Number of epochs; 50 as in the paper, the authors' script has 100 [default: 50].
    #[arg(long)]
    epochs: Option<usize>,
    /// Base learning rate, the peak of the schedule [default: 1e-5].
    #[arg(long)]
    lr: Option<f64>,
    /// Shape of the learning rate after the warm-up [default: cosine].
    #[arg(long, value_parser = named::<Schedule>())]
    schedule: Option<Schedule>,
    /// Fraction of the steps in which the learning rate warms up linearly [default: 0.1].
    #[arg(long)]
    warmup: Option<f64>,
    /// Fraction of the steps in which `constant-with-cooldown` falls to 0 [default: 0.2].
    #[arg(long)]
    cooldown: Option<f64>,
    /// Decoupled weight decay [default: 1e-4].
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Optimizer [default: lion].
    #[arg(long, value_name = "KIND", value_parser = named::<Optimizer>())]
    optimizer: Option<Optimizer>,
    /// Clip the global norm of the gradient to this value.
    #[arg(long, value_name = "NORM")]
    max_gradient_norm: Option<f64>,
    /// Evaluate and save an exponential moving average of the parameters with this decay, such as 0.999.
    #[arg(long, value_name = "DECAY")]
    ema_decay: Option<f64>,
    /// Freeze parameters, such as `image`, `text.norm` or `logit.bias`; can be repeated.
    #[arg(long, value_name = "PARAMETERS")]
    freeze: Vec<String>,
    /// Scale the learning rate of parameters, such as `text=0.1`; can be repeated.
    #[arg(long, value_name = "PARAMETERS=FACTOR")]
    lr_scale: Vec<String>,
    /// Weight decay of parameters, such as `logit=0`; can be repeated.
    #[arg(long, value_name = "PARAMETERS=DECAY")]
    group_decay: Vec<String>,
    /// Data type of the head's layers; weights, optimizer and loss stay in f32 [default: f32].
    #[arg(long, value_name = "DTYPE", value_parser = named::<Dtype>())]
    precision: Option<Dtype>,
    /// Seed of the initial weights, the order of the batches and the holdout [default: 42].
    #[arg(long)]
    seed: Option<u64>,

    /// When to evaluate: a number of epochs, or of steps such as `200steps`; 0 evaluates at the end only [default: 5].
    #[arg(long, value_name = "INTERVAL")]
    evaluate_every: Option<Interval>,
    /// Stop after this number of evaluations without improvement.
    #[arg(long, value_name = "EVALUATIONS")]
    patience: Option<usize>,
    /// Keep a copy of the head in `heads/`, in the same way [default: 0, never].
    #[arg(long, value_name = "INTERVAL")]
    keep_every: Option<Interval>,
}

impl RecipeArgs {
    /// The recipe, checked before a file of features is read.
    pub(crate) fn recipe(&self) -> Result<Recipe, CliError> {
        let mut recipe = match &self.config {
            Some(path) => Recipe::load(path)?,
            None => {
                for (option, value) in [("images", &self.images), ("texts", &self.texts)] {
                    if value.is_none() {
                        let message =
                            format!("`--{option}` is missing: name the features, or a `--config` that does");
                        return Err(CliError::Usage(message));
                    }
                }
                Recipe::new("", "")
            }
        };
        // A run states how many rows it found; another run of its recipe finds its own.
        (recipe.rows, recipe.pairing) = (None, None);
        set(&mut recipe.images, &self.images);
        set(&mut recipe.texts, &self.texts);
        if !self.extra_texts.is_empty() {
            recipe.extra_texts.clone_from(&self.extra_texts);
        }
        set(&mut recipe.unmatched, &self.unmatched.unmatched);
        recipe.keys = self.keys.clone().or(recipe.keys);
        set(&mut recipe.holdout, &self.holdout);
        recipe.head = self.head(recipe.head)?;
        recipe.loss = self.loss(recipe.loss)?;
        recipe.structure = self.structure.or(recipe.structure);
        recipe.gram = self.gram.or(recipe.gram);
        self.unpaired.set(&mut recipe.unpaired)?;
        self.lora.set(&mut recipe.lora_image)?;
        recipe.train = self.train(recipe.train)?;
        recipe.check()?;
        Ok(recipe)
    }

    fn head(&self, head: HeadRecipe) -> Result<HeadRecipe, CliError> {
        if let Some(from) = &self.warm_start {
            return Ok(HeadRecipe::Trained { from: from.clone() });
        }
        let settings = ProjectorSettings { width: self.width, depth: self.depth, dropout: self.dropout };
        if self.projector.is_none() && settings.is_empty() && self.dim.is_none() {
            return Ok(head);
        }
        let HeadRecipe::Layers { mut projector, mut dim } = head else {
            let message = "the options of the head, such as `--projector` and `--dim`, cannot change the head of this `--config`, which states \
                           both of its sides: edit the file";
            return Err(CliError::Usage(message.into()));
        };
        if let Some(kind) = self.projector {
            projector = kind.config();
        }
        projector = settings.apply(projector)?;
        set(&mut dim, &self.dim);
        Ok(HeadRecipe::Layers { projector, dim })
    }

    fn loss(&self, loss: LossConfig) -> Result<LossConfig, CliError> {
        let mut loss = match self.loss {
            None => loss,
            Some(Loss::Sigmoid) => LossConfig::default(),
            Some(Loss::InfoNce) => LossConfig::InfoNce { direction: Direction::default() },
            Some(Loss::BarlowTwins) => LossConfig::BarlowTwins { lambda: 5e-3 },
        };
        match &mut loss {
            LossConfig::Sigmoid { normalization, blocks } => {
                set(normalization, &self.normalization);
                set(blocks, &self.blocks);
            }
            _ if self.normalization.is_some() || self.blocks.is_some() => {
                return Err(CliError::Usage(
                    "`--normalization` and `--blocks` have no meaning for this `--loss`".into(),
                ));
            }
            _ => {}
        }
        Ok(loss)
    }

    fn train(&self, mut train: TrainConfig) -> Result<TrainConfig, CliError> {
        set(&mut train.epochs, &self.epochs);
        set(&mut train.batch_size, &self.batch);
        set(&mut train.learning_rate, &self.lr);
        set(&mut train.schedule, &self.schedule);
        set(&mut train.warmup, &self.warmup);
        set(&mut train.cooldown, &self.cooldown);
        set(&mut train.weight_decay, &self.weight_decay);
        set(&mut train.precision, &self.precision);
        set(&mut train.captions, &self.captions);
        set(&mut train.positives, &self.positives);
        if !self.source_weights.is_empty() {
            train.source_weights.clone_from(&self.source_weights);
        }
        set(&mut train.mixup, &self.mixup);
        set(&mut train.seed, &self.seed);
        set(&mut train.evaluate_every, &self.evaluate_every);
        set(&mut train.keep_every, &self.keep_every);
        train.max_gradient_norm = self.max_gradient_norm.or(train.max_gradient_norm);
        train.ema_decay = self.ema_decay.or(train.ema_decay);
        train.patience = self.patience.or(train.patience);
        match self.optimizer {
            None => {}
            Some(Optimizer::Lion) => train.optimizer = OptimizerConfig::LION,
            Some(Optimizer::AdamW) => train.optimizer = OptimizerConfig::ADAMW,
        }
        for parameters in &self.freeze {
            group(&mut train.parameter_groups, parameters).frozen = true;
        }
        for text in &self.lr_scale {
            let (parameters, factor) = setting("--lr-scale", text)?;
            group(&mut train.parameter_groups, parameters).learning_rate_scale = factor;
        }
        for text in &self.group_decay {
            let (parameters, decay) = setting("--group-decay", text)?;
            group(&mut train.parameter_groups, parameters).weight_decay = Some(decay);
        }
        Ok(train)
    }
}

fn set<T: Clone>(field: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

/// The group of some parameters, added if there is none.
fn group<'a>(groups: &'a mut Vec<ParameterGroup>, parameters: &str) -> &'a mut ParameterGroup {
    let index = groups.iter().position(|group| group.parameters == parameters).unwrap_or_else(|| {
        groups.push(ParameterGroup::new(parameters));
        groups.len() - 1
    });
    &mut groups[index]
}

fn setting<'a>(option: &str, text: &'a str) -> Result<(&'a str, f64), CliError> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((name, value.parse().ok()?)));
    parsed.ok_or_else(|| {
        CliError::Usage(format!(
            "`{option} {text}`: expected PARAMETERS=NUMBER, such as `text.projector=0.1`"
        ))
    })
}
