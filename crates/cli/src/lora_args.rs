//! The options of `sail train` for adapters of the image encoder.

use clap::Args;
use sail_vl::core::{ImagePooling, LoraConfig};
use sail_vl::recipe::LoraRecipe;

use crate::error::CliError;
use crate::named::named;

#[derive(Args, Clone)]
pub(crate) struct LoraArgs {
    /// Train low-rank adapters of the last blocks of the image encoder with the head (LoRA). `--images` is then a store of the
    /// token states before these blocks, from `sail encode images --pooling tokens --layers -N`, where N is one more than the
    /// number of blocks. LAYERS are some of `query`, `key`, `value`, `output`, `gate`, `up`, `down`, separated by commas; rank 0 runs the
    /// blocks as they are [default: query,value of all blocks after the states].
    #[arg(long, value_name = "RANK[:BLOCKS[:LAYERS]]")]
    lora_image: Option<LoraConfig>,
    /// Scale of the adapters, of which ALPHA / RANK is their factor [default: the rank].
    #[arg(long, value_name = "ALPHA")]
    lora_alpha: Option<f64>,
    /// Where the model of `--lora-image` is: a folder, or an id on the hub [default: the one that the store records].
    #[arg(long, value_name = "FOLDER_OR_ID")]
    vision: Option<String>,
    /// How the token states after the adapted blocks are pooled [default: the model's pooling].
    #[arg(long, value_name = "POOLING", value_parser = named::<ImagePooling>())]
    vision_pooling: Option<ImagePooling>,
}

impl LoraArgs {
    /// Changes the settings of a recipe to those of the options.
    pub(crate) fn set(&self, recipe: &mut Option<LoraRecipe>) -> Result<(), CliError> {
        if let Some(adapters) = &self.lora_image {
            match recipe {
                Some(recipe) => recipe.adapters.clone_from(adapters),
                None => *recipe = Some(LoraRecipe::new(adapters.clone())),
            }
        }
        let Self { lora_alpha, vision, vision_pooling, .. } = self;
        let Some(recipe) = recipe else {
            if lora_alpha.is_none() && vision.is_none() && vision_pooling.is_none() {
                return Ok(());
            }
            let message = "`--lora-alpha`, `--vision` and `--vision-pooling` need `--lora-image`";
            return Err(CliError::Usage(message.into()));
        };
        recipe.adapters.alpha = lora_alpha.or(recipe.adapters.alpha);
        recipe.model = vision.clone().or(recipe.model.take());
        recipe.pooling = vision_pooling.or(recipe.pooling);
        Ok(())
    }
}
