//! What a tensor's name says of it.

use super::{Part, Reason};

/// Which of an adapter's tensors it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Down,
    Up,
    Mid,
    Alpha,
    Magnitude,
    /// A factor of something that is not a LoRA.
    Other(&'static str),
}

/// How a name is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Peft,
    Diffusers,
    AttnProcs,
    Kohya,
}

/// The layer that a name is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A path, fields joined by dots.
    Dotted(String),
    /// A path whose dots have become underscores, as kohya's trainer writes it.
    Joined(String),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Dotted(text) | Self::Joined(text)) = self;
        f.write_str(text)
    }
}

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) part: Part,
    pub(super) name: Name,
    pub(super) role: Role,
    /// What the spelling of the role says; an alpha says nothing.
    pub(super) form: Option<Form>,
}

const KOHYA_PREFIXES: [(&str, Part); 4] = [
    ("lora_unet_", Part::Unet),
    ("lora_te_", Part::TextEncoder),
    ("lora_te1_", Part::TextEncoder),
    ("lora_te2_", Part::TextEncoder2),
];

const PREFIXES: [(&str, Part); 6] = [
    ("unet.", Part::Unet),
    ("text_encoder_2.", Part::TextEncoder2),
    ("text_encoder.", Part::TextEncoder),
    // The name that the CompVis code gives the U-Net inside its wrapper.
    ("diffusion_model.", Part::Unet),
    // And the ones that ComfyUI gives the text encoders of SDXL.
    ("text_encoders.clip_l.transformer.", Part::TextEncoder),
    ("text_encoders.clip_g.transformer.", Part::TextEncoder2),
];

/// What PEFT puts before the names of a network that it has wrapped.
const PEFT_WRAPPER: &str = "base_model.model.";

/// Parts of networks that Sumi does not run, by how their layers' names begin.
const OTHER_NETWORKS: [&str; 6] = [
    "transformer.",
    "lora_transformer_",
    "lora_prior_",
    "lora_te3_",
    "double_blocks.",
    "single_transformer_blocks.",
];

/// Takes a name apart.
pub(super) fn parse(key: &str) -> Result<Key, Reason> {
    if OTHER_NETWORKS.iter().any(|prefix| key.starts_with(prefix)) {
        return Err(Reason::OtherNetwork);
    }
    let kohya =
        KOHYA_PREFIXES.iter().find_map(|(prefix, part)| Some((key.strip_prefix(prefix)?, *part)));
    if let Some((rest, part)) = kohya {
        let segments: Vec<&str> = rest.split('.').collect();
        let found = marker(&segments).ok_or(Reason::NotLora)?;
        let name = Name::Joined(segments[..found.at].join("_"));
        return Ok(Key { part, name, role: found.role, form: Some(Form::Kohya) });
    }
    let key = key.strip_prefix(PEFT_WRAPPER).unwrap_or(key);
    let prefixed =
        PREFIXES.iter().find_map(|(prefix, part)| Some((key.strip_prefix(prefix)?, Some(*part))));
    let (rest, part) = prefixed.unwrap_or((key, None));
    let segments: Vec<&str> = rest.split('.').collect();
    let found = marker(&segments).ok_or(Reason::NotLora)?;
    let part = part.or_else(|| guess(&segments)).ok_or(Reason::NoPart)?;
    let name = Name::Dotted(dotted(part, &segments[..found.at], found.projection));
    Ok(Key { part, name, role: found.role, form: found.form })
}

/// Old files of the U-Net alone, and PEFT's own, do not name the part.
fn guess(segments: &[&str]) -> Option<Part> {
    match *segments.first()? {
        "down_blocks" | "mid_block" | "up_blocks" | "conv_in" | "conv_out" | "time_embedding"
        | "add_embedding" | "input_blocks" | "middle_block" | "output_blocks" => Some(Part::Unet),
        "text_model" | "encoder" | "text_projection" => Some(Part::TextEncoder),
        _ => None,
    }
}

/// Where a path ends, and what follows it.
struct Marker<'a> {
    at: usize,
    role: Role,
    form: Option<Form>,
    /// The last step of the path where it is part of the marker: `to_q` of `to_q_lora`.
    projection: Option<&'a str>,
}

/// The first segment that belongs to no path, if what follows is known.
fn marker<'a>(segments: &[&'a str]) -> Option<Marker<'a>> {
    (0..segments.len()).find_map(|at| {
        let tail = &segments[at + 1..];
        let projection = segments[at].strip_suffix("_lora");
        let (role, form) = match (segments[at], projection) {
            (_, Some(_)) => (direction(tail)?, Some(Form::AttnProcs)),
            ("lora" | "lora_linear_layer", _) => (direction(tail)?, Some(Form::Diffusers)),
            (name, _) => role(name, tail)?,
        };
        Some(Marker { at, role, form, projection })
    })
}

fn direction(tail: &[&str]) -> Option<Role> {
    match tail {
        ["down", "weight"] => Some(Role::Down),
        ["up", "weight"] => Some(Role::Up),
        ["alpha"] => Some(Role::Alpha),
        _ => None,
    }
}

fn role(name: &str, tail: &[&str]) -> Option<(Role, Option<Form>)> {
    // PEFT may put the adapter's own name, mostly `default`, before `weight`.
    let weight = matches!(tail, ["weight"] | [_, "weight"]);
    let found = match name {
        "lora_A" if weight => (Role::Down, Some(Form::Peft)),
        "lora_B" if weight => (Role::Up, Some(Form::Peft)),
        "lora_A" | "lora_B" => (Role::Other("a bias inside the adapter"), None),
        "lora_down" if tail == ["weight"] => (Role::Down, Some(Form::Kohya)),
        "lora_up" if tail == ["weight"] => (Role::Up, Some(Form::Kohya)),
        "lora_mid" if tail == ["weight"] => (Role::Mid, Some(Form::Kohya)),
        "alpha" | "lora_alpha" if tail.is_empty() => (Role::Alpha, None),
        "lora_magnitude_vector" if tail.len() <= 2 => (Role::Magnitude, Some(Form::Peft)),
        "dora_scale" if tail.len() <= 1 => (Role::Magnitude, Some(Form::Kohya)),
        "lora_embedding_A" | "lora_embedding_B" => {
            (Role::Other("an adapter of an embedding"), None)
        }
        "diff" | "diff_b" => (Role::Other("a difference of whole weights"), None),
        _ if name.starts_with("hada_") => (Role::Other("LoHa"), None),
        _ if name.starts_with("lokr_") => (Role::Other("LoKr"), None),
        _ if name.starts_with("oft_") => (Role::Other("OFT"), None),
        _ => return None,
    };
    Some(found)
}

/// The path of the layer in the network, from the path in an attention processor.
fn dotted(part: Part, segments: &[&str], projection: Option<&str>) -> String {
    let mut path: Vec<&str> =
        segments.iter().copied().filter(|step| *step != "processor").collect();
    path.extend(projection);
    let attention = path.len() > 1 && path[path.len() - 2] == "self_attn";
    let renamed = match (part, path.last().copied()) {
        (Part::Unet, Some("to_out")) => Some("to_out.0"),
        (Part::Unet, _) => None,
        (_, Some("to_q")) if attention => Some("q_proj"),
        (_, Some("to_k")) if attention => Some("k_proj"),
        (_, Some("to_v")) if attention => Some("v_proj"),
        (_, Some("to_out")) if attention => Some("out_proj"),
        _ => None,
    };
    if let (Some(renamed), Some(last)) = (renamed, path.last_mut()) {
        *last = renamed;
    }
    path.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(key: &str, part: Part, name: &str, role: Role, form: Form) {
        let joined = key.starts_with("lora_");
        let name = if joined { Name::Joined(name.into()) } else { Name::Dotted(name.into()) };
        assert_eq!(parse(key), Ok(Key { part, name, role, form: Some(form) }));
    }

    const TO_OUT: &str = "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0";
    const Q_PROJ: &str = "text_model.encoder.layers.3.self_attn.q_proj";

    #[test]
    fn every_spelling_gives_the_same_path() {
        let unet = |key: &str, role, form| read(key, Part::Unet, TO_OUT, role, form);
        let block = "up_blocks.1.attentions.2.transformer_blocks.0.attn2";
        unet(&format!("unet.{TO_OUT}.lora_A.weight"), Role::Down, Form::Peft);
        unet(&format!("unet.{TO_OUT}.lora_B.default.weight"), Role::Up, Form::Peft);
        unet(&format!("base_model.model.{TO_OUT}.lora_A.weight"), Role::Down, Form::Peft);
        unet(&format!("base_model.model.unet.{TO_OUT}.lora_B.weight"), Role::Up, Form::Peft);
        unet(&format!("unet.{TO_OUT}.lora_magnitude_vector"), Role::Magnitude, Form::Peft);
        unet(&format!("unet.{block}.to_out.lora_magnitude_vector"), Role::Magnitude, Form::Peft);
        unet(&format!("unet.{TO_OUT}.lora.down.weight"), Role::Down, Form::Diffusers);
        unet(&format!("{block}.processor.to_out_lora.up.weight"), Role::Up, Form::AttnProcs);
        unet(
            &format!("unet.{block}.processor.to_out_lora.down.weight"),
            Role::Down,
            Form::AttnProcs,
        );
        let text = |key: &str, role, form| read(key, Part::TextEncoder, Q_PROJ, role, form);
        text(
            &format!("text_encoder.{Q_PROJ}.lora_linear_layer.up.weight"),
            Role::Up,
            Form::Diffusers,
        );
        let old = "text_encoder.text_model.encoder.layers.3.self_attn.to_q_lora.down.weight";
        text(old, Role::Down, Form::AttnProcs);
        text(&format!("base_model.model.{Q_PROJ}.lora_A.weight"), Role::Down, Form::Peft);
        let comfy = format!("text_encoders.clip_l.transformer.{Q_PROJ}.lora_B.weight");
        text(&comfy, Role::Up, Form::Peft);
    }

    #[test]
    fn joined_names_keep_their_underscores() {
        let unet = "lora_unet_input_blocks_4_1_proj_in";
        let name = "input_blocks_4_1_proj_in";
        read(&format!("{unet}.lora_mid.weight"), Part::Unet, name, Role::Mid, Form::Kohya);
        read(&format!("{unet}.alpha"), Part::Unet, name, Role::Alpha, Form::Kohya);
        read(&format!("{unet}.dora_scale"), Part::Unet, name, Role::Magnitude, Form::Kohya);
        let loha = Role::Other("LoHa");
        read(&format!("{unet}.hada_w1_a"), Part::Unet, name, loha, Form::Kohya);
        let (te2, fc1) = ("lora_te2_text_model_mlp_fc1", "text_model_mlp_fc1");
        read(&format!("{te2}.lora_up.weight"), Part::TextEncoder2, fc1, Role::Up, Form::Kohya);
    }

    #[test]
    fn what_is_no_lora_is_said_to_be_none() {
        assert_eq!(parse("unet.conv_in.weight"), Err(Reason::NotLora));
        assert_eq!(parse("transformer.x.lora_A.weight"), Err(Reason::OtherNetwork));
        assert_eq!(parse("vae.x.lora_A.weight"), Err(Reason::NoPart));
        assert_eq!(parse(""), Err(Reason::NotLora));
        assert_eq!(parse("lora_unet_"), Err(Reason::NotLora));
    }
}
